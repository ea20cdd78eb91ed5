-- ARGV: owner, mode, permits, total, leaseMs, inbox ('': does not wait)
-- Returns the fence of the grant, 0 for busy, -1 for waiting.
local owner, mode, inbox = ARGV[1], ARGV[2], ARGV[6]
local permits, total, leaseMs = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

local free = #state == 1 and not changed
if not free then
  handOver()
  local own = find(owner)
  if own then
    keep(own, leaseMs)
    save()
    return own[4]
  end
  if changed then save() end
  local waiter = place(owner)
  if not waiter then
    leave(owner)
    free = redis.call('EXISTS', KEYS[2]) == 0 and not upgradeWaits() and fits(mode, permits, total)
  end
  if not free then
    if not waiter and inbox == '' then return 0 end
    if not waiter then
      local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2]
      redis.call('ZADD', KEYS[2], last and last + 1 or 1, owner)
      waiter = { mode, permits, total, leaseMs, 0, inbox }
    end
    waiter[4], waiter[5] = leaseMs, math.max(waiter[5], now + leaseMs * 1000)
    if inbox ~= '' then waiter[6] = inbox end
    redis.call('HSET', KEYS[3], owner, cmsgpack.pack(waiter))
    local ttlMs = math.max(leaseMs, redis.call('PTTL', KEYS[2]))
    redis.call('PEXPIRE', KEYS[2], ttlMs)
    redis.call('PEXPIRE', KEYS[3], ttlMs)
    return -1
  end
end
local fence = grant(owner, mode, permits, leaseMs)
save()
return fence
