-- The short way of a release: by the only holder, with nobody waiting. If its lease is over nobody has noticed, so that
-- nobody else had the lock either; who releases knows by the own clock whether it was in time.
do
  local stored = redis.call('GET', KEYS[1])
  if stored then
    local fence, owner = cmsgpack.unpack(stored)
    if owner == ARGV[1] and redis.call('EXISTS', KEYS[2]) == 0 then
      redis.call('SET', KEYS[1], cmsgpack.pack(fence), 'PX', 86400000)
      return 1
    end
  end
end
