-- The short way of a claim: nobody has the lock, so nobody waits either. What else there is needs the rest.
do
  local stored = redis.call('HGET', KEYS[1], 's')
  local last, endHour, holder = 0, 0, nil
  if stored then last, endHour, holder = cmsgpack.unpack(stored) end
  if not holder and type(last) == 'number' then
    local clock = redis.call('TIME')
    local now = clock[1] * 1000000 + clock[2]
    local leaseMs = tonumber(ARGV[2])
    local untilUs = now + leaseMs * 1000
    local fence = math.max(last + 1, now)
    local ends = untilUs + 86400000000 > endHour * 3600000000
    if ends then endHour = math.ceil((untilUs + 86400000000) / 3600000000) + 24 end
    redis.call(
      'HSET', KEYS[1], 's',
      cmsgpack.pack(fence, endHour, ARGV[1], ARGV[4], tonumber(ARGV[5] or 1), untilUs, leaseMs)
    )
    if ends then redis.call('PEXPIREAT', KEYS[1], string.format('%d', endHour * 3600000)) end
    return fence
  end
end
