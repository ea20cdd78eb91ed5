-- The short way of a claim: nobody has the key, so nobody waits either. What else there is needs the rest.
do
  local stored = redis.call('GET', KEYS[1])
  local state = stored and cmsgpack.unpack(stored) or { 0 }
  if #state == 1 then
    local clock = redis.call('TIME')
    local now = clock[1] * 1000000 + clock[2]
    local leaseMs = tonumber(ARGV[5])
    local fence = math.max(state[1] + 1, now)
    state[1] = fence
    state[2] = { ARGV[1], ARGV[2], tonumber(ARGV[3]), fence, now + leaseMs * 1000, false, leaseMs }
    redis.call('SET', KEYS[1], cmsgpack.pack(state), 'PX', leaseMs + 86400000)
    return fence
  end
end
