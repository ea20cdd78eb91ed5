-- The short way of a release: by the only holder, with nobody waiting.
do
  local stored = redis.call('GET', KEYS[1])
  local state = stored and cmsgpack.unpack(stored)
  if state and #state == 2 and state[2][1] == ARGV[1] and redis.call('EXISTS', KEYS[2]) == 0 then
    local clock = redis.call('TIME')
    if state[2][5] > clock[1] * 1000000 + clock[2] then
      redis.call('SET', KEYS[1], cmsgpack.pack({ state[1] }), 'PX', 86400000)
      return 1
    end
  end
end
