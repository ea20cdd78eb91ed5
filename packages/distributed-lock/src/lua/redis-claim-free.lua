-- The short way of a claim: nobody has the key, so nobody waits either. What else there is needs the rest.
do
  local stored = redis.call('GET', KEYS[1])
  local last, holder = 0, nil
  if stored then last, holder = cmsgpack.unpack(stored) end
  if not holder and type(last) == 'number' then
    local clock = redis.call('TIME')
    local now = clock[1] * 1000000 + clock[2]
    local leaseMs = tonumber(ARGV[5])
    local fence = math.max(last + 1, now)
    redis.call(
      'SET', KEYS[1],
      cmsgpack.pack(fence, ARGV[1], ARGV[2], tonumber(ARGV[3]), fence, now + leaseMs * 1000, false, leaseMs),
      'PX', leaseMs + 86400000
    )
    return fence
  end
end
