// Written by `npm run embed` from src/lua/. Edit those files.
export const lua = {
  'redis-claim-free': `-- The short way of a claim: nobody has the lock, so nobody waits either. What else there is needs the rest. It comes before
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
end`,
  'redis-claim': `-- ARGV: owner, leaseMs, inbox (none or '': does not wait), mode (none: e), of a semaphore permits and total
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
return fence`,
  'redis-convert': `-- ARGV: owner, mode, leaseMs, inbox ('': does not wait)
-- Returns the fence, 0 for busy, -1 for waiting, -2 for deadlock, -3 for lost.
local owner, mode, leaseMs, inbox = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
if changed then handOver() end
local own = find(owner)
if not own then
  if changed then save() end
  return -3
end
keep(own, leaseMs)
local answer
if mode == 'p' or own[2] == 'p' then
  return redis.error_reply('ERR permits cannot be converted')
elseif mode == 'e' and own[2] == 's' then
  if #holders == 1 then
    own[2], own[4], own[6] = 'e', nextFence(), false
    answer = own[4]
  elseif own[6] then
    if inbox ~= '' then own[6] = inbox end
    answer = -1
  elseif upgradeWaits() then
    answer = -2
  elseif inbox == '' then
    answer = 0
  else
    own[6] = inbox
    answer = -1
  end
else
  own[2], own[6] = mode, false
  handOver()
  answer = own[4]
end
save()
return answer`,
  'redis-inspect': `-- Returns { waiting, owner, mode, permits, fence, owner, ... }
if changed then
  handOver()
  save()
end
local waiting = 0
for place = head, tail do
  local owner = redis.call('HGET', lock, 'p' .. place)
  if owner and alive(waiterOf(owner)) then waiting = waiting + 1 end
end
local answer = { waiting }
for _, holder in ipairs(holders) do
  for field = 1, 4 do answer[#answer + 1] = holder[field] end
end
return answer`,
  'redis-prelude': `-- What every operation begins with. One lock is one hash, so that it moves, ends and is named in a call as a whole:
--
-- s         what is stored of its state, by its first byte:
--           1  fence, endHour: nobody has it
--           2  fence, endHour, untilUs, leaseMs, permits, mode, owner: one holder that has this fence, and no queue
--              otherwise msgpack { fence, endHour, head, tail, holders }, a holder being { owner, mode, permits, fence,
--              untilUs, upgrade, leaseMs }: upgrade is the inbox of one that waits to become exclusive, or false
--           mode is e, s or p. The short ways of claim and release read and write the first two without a table.
-- p<place>  the owner at a place of the queue, from head to tail; places of those that left are empty
-- w<owner>  msgpack { mode, permits, total, leaseMs, untilUs, inbox, place } of one that waits
--
-- The hash ends with the hour endHour since 1970, a day after the last lease or later: so a claim seldom has to move it.
--
-- The rules are those of \`LockTable\` of @quorate/replicated-log. Without holders there is no queue. Time is the server's,
-- in microseconds; doubles hold those exactly until the year 2255.

local HOUR_US = 3600000000
-- How long the last fence is kept after the last lease, at least: it matters only while the server's clock is behind it.
local FENCE_US = 86400000000
-- How much longer, at most, so that the end moves once in a while and not with every lease.
local SLACK_HOURS = 24

local lock = KEYS[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local fence, endHour, head, tail, holders = 0, 0, 1, 0, {}
do
  local stored = redis.call('HGET', lock, 's')
  local kind = stored and string.byte(stored)
  if kind and kind > 2 then
    fence, endHour, head, tail, holders = unpack(cmsgpack.unpack(stored))
  elseif kind then
    kind, fence, endHour = struct.unpack('<BdI4', stored)
    if kind == 2 then
      local untilUs, leaseMs, permits, mode = struct.unpack('<dddc1', stored, 14)
      holders[1] = { string.sub(stored, 39), mode, permits, fence, untilUs, false, leaseMs }
    end
  end
end
local changed = false

-- Has the hash end later than a time.
local function outlast(us)
  if endHour * HOUR_US < us then
    endHour = math.ceil(us / HOUR_US) + SLACK_HOURS
    changed = true
  end
end

local function save()
  local last = now
  for _, holder in ipairs(holders) do last = math.max(last, holder[5]) end
  outlast(last + FENCE_US)
  local sole = holders[1]
  local packed
  if head > tail and not sole then
    packed = struct.pack('<BdI4', 1, fence, endHour)
  elseif head > tail and #holders == 1 and sole[4] == fence and not sole[6] then
    packed = struct.pack('<BdI4dddc1', 2, fence, endHour, sole[5], sole[7], sole[3], sole[2]) .. sole[1]
  else
    packed = cmsgpack.pack({ fence, endHour, head, tail, holders })
  end
  redis.call('HSET', lock, 's', packed)
  redis.call('PEXPIREAT', lock, string.format('%d', endHour * 3600000))
end

local function nextFence()
  fence = math.max(fence + 1, now)
  return fence
end

local function find(owner)
  for i, holder in ipairs(holders) do
    if holder[1] == owner then return holder, i end
  end
end

-- A lease is never shortened: a call that arrives late takes nothing back.
local function keep(holder, leaseMs)
  holder[5] = math.max(holder[5], now + leaseMs * 1000)
  holder[7] = leaseMs
end

local function upgradeWaits()
  for _, holder in ipairs(holders) do
    if holder[6] then return true end
  end
  return false
end

local function fits(mode, permits, total)
  local taken = 0
  for _, holder in ipairs(holders) do
    if holder[2] == 'e' or holder[2] ~= mode then return false end
    taken = taken + holder[3]
  end
  return mode ~= 'p' or taken + permits <= total
end

local function grant(owner, mode, permits, leaseMs)
  holders[#holders + 1] = { owner, mode, permits, nextFence(), now + leaseMs * 1000, false, leaseMs }
  return fence
end

local function tell(inbox, owner, granted, leaseMs)
  redis.call('PUBLISH', inbox, owner .. '\\n' .. string.format('%.0f', granted) .. '\\n' .. string.format('%.0f', leaseMs))
end

local function waiterOf(owner)
  local packed = redis.call('HGET', lock, 'w' .. owner)
  return packed and cmsgpack.unpack(packed)
end

-- A waiter that has not run out.
local function alive(waiter)
  return waiter and waiter[5] > now and waiter
end

local function leave(owner, place)
  redis.call('HDEL', lock, 'w' .. owner, 'p' .. place)
end

-- Grants to the upgrade or the first of the queue whatever it can have. Dead waiters go when they are the first.
local function handOver()
  local sole = holders[1]
  if #holders == 1 and sole[6] then
    tell(sole[6], sole[1], nextFence(), sole[7])
    sole[2], sole[4], sole[6] = 'e', fence, false
    keep(sole, sole[7])
    changed = true
  end
  if upgradeWaits() then return end
  while head <= tail do
    local first = redis.call('HGET', lock, 'p' .. head)
    if first then
      local waiter = alive(waiterOf(first))
      if waiter and not fits(waiter[1], waiter[2], waiter[3]) then return end
      leave(first, head)
      if waiter then tell(waiter[6], first, grant(first, waiter[1], waiter[2], waiter[4]), waiter[4]) end
    end
    head = head + 1
    changed = true
  end
end

-- Lets go of the holders whose lease is over.
for i = #holders, 1, -1 do
  if holders[i][5] <= now then
    table.remove(holders, i)
    changed = true
  end
end`,
  'redis-release-sole': `-- The short way of a release: by the only holder, with nobody waiting. If its lease is over nobody has noticed, so that
-- nobody else had the lock either; who releases knows by the own clock whether it was in time.
do
  local stored = redis.call('HGET', KEYS[1], 's')
  if stored and string.byte(stored) == 2 and string.sub(stored, 39) == ARGV[1] then
    redis.call('HSET', KEYS[1], 's', '\\001' .. string.sub(stored, 2, 13))
    return 1
  end
end`,
  'redis-release': `-- ARGV: owner. Returns 1 if it had the lock or a place until now, else 0.
local own, at = find(ARGV[1])
local had = own ~= nil
if own then
  table.remove(holders, at)
  changed = true
else
  local waiter = waiterOf(ARGV[1])
  if waiter then
    had = alive(waiter) and true or false
    leave(ARGV[1], waiter[7])
  end
end
handOver()
if changed then save() end
return had and 1 or 0`,
  'redis-renew': `-- ARGV: owner, leaseMs. Returns 1 if it is held, 0 if it is lost.
if changed then handOver() end
local own = find(ARGV[1])
if own then keep(own, tonumber(ARGV[2])) end
if own or changed then save() end
return own and 1 or 0`,
} as const;
