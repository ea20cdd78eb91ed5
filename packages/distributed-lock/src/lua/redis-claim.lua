-- ARGV: owner, leaseMs, inbox (none or '': does not wait), mode (none: e), of a semaphore permits and total
-- Returns the fence of the grant, 0 for busy, -1 for waiting.
local owner, leaseMs, inbox, mode = ARGV[1], tonumber(ARGV[2]), ARGV[3] or '', ARGV[4] or 'e'
local permits, total = tonumber(ARGV[5] or 1), tonumber(ARGV[6] or 1)

local free = #holders == 0 and not changed
if not free then
  handOver()
  local own = find(owner)
  if own then
    keep(own, leaseMs)
    save()
    return own[4]
  end
  local waiter = waiterOf(owner)
  if waiter and not alive(waiter) then
    leave(owner, waiter[7])
    waiter = nil
  end
  if not waiter then free = head > tail and not upgradeWaits() and fits(mode, permits, total) end
  if not free then
    if not waiter and inbox == '' then
      if changed then save() end
      return 0
    end
    if not waiter then
      tail = tail + 1
      redis.call('HSET', lock, 'p' .. tail, owner)
      waiter = { mode, permits, total, leaseMs, 0, inbox, tail }
      changed = true
    end
    waiter[4], waiter[5] = leaseMs, math.max(waiter[5], now + leaseMs * 1000)
    if inbox ~= '' then waiter[6] = inbox end
    redis.call('HSET', lock, 'w' .. owner, cmsgpack.pack(waiter))
    outlast(waiter[5])
    if changed then save() end
    return -1
  end
end
grant(owner, mode, permits, leaseMs)
save()
return fence
