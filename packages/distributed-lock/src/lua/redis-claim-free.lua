-- The short way of a claim: nobody has the lock, so nobody waits either. What else there is needs the rest. It comes before
-- the prelude, whose FENCE_US, HOUR_US and SLACK_HOURS its numbers are.
do
  local stored = redis.call('HGET', KEYS[1], 's')
  local kind, fence, endHour = 1, 0, 0
  if stored then kind, fence, endHour = struct.unpack('<BdI4', stored) end
  if kind == 1 then
    local clock = redis.call('TIME')
    local now = clock[1] * 1000000 + clock[2]
    fence = math.max(fence + 1, now)
    local leaseMs = tonumber(ARGV[2])
    local untilUs = now + leaseMs * 1000
    local ends = untilUs + 86400000000 > endHour * 3600000000
    if ends then endHour = math.ceil((untilUs + 86400000000) / 3600000000) + 24 end
    redis.call(
      'HSET', KEYS[1], 's',
      struct.pack('<BdI4dddc1', 2, fence, endHour, untilUs, leaseMs, tonumber(ARGV[5] or 1), ARGV[4] or 'e') .. ARGV[1]
    )
    if ends then redis.call('PEXPIREAT', KEYS[1], string.format('%d', endHour * 3600000)) end
    return fence
  end
end
