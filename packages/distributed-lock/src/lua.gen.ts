// Written by `npm run embed` from src/lua/. Edit those files.
export const lua = {
  'redis-claim-free': `-- The short way of a claim: nobody has the key, so nobody waits either. What else there is needs the rest.
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
end`,
  'redis-claim': `-- ARGV: owner, mode, permits, total, leaseMs, inbox ('': does not wait)
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
  if #state == 2 then
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
for _, packed in ipairs(redis.call('HVALS', KEYS[3])) do
  if cmsgpack.unpack(packed)[5] > now then waiting = waiting + 1 end
end
local answer = { waiting }
for i = 2, #state do
  for field = 1, 4 do answer[#answer + 1] = state[i][field] end
end
return answer`,
  'redis-prelude': `-- What every operation begins with. One lock is three keys of one slot:
--
-- KEYS[1]  msgpack { fence, holder, ... }, a holder being { owner, mode, permits, fence, untilUs, upgrade, leaseMs }:
--          mode is e, s or p; upgrade is the inbox of one that waits to become exclusive, or false.
--          With one holder the values follow each other without arrays around them, with none only the fence is there:
--          the short ways of claim and release read and write those without a table.
-- KEYS[2]  sorted set: owners that wait, by their number in the queue
-- KEYS[3]  hash: owner -> msgpack { mode, permits, total, leaseMs, untilUs, inbox }
--
-- The rules are those of \`LockTable\` of @quorate/replicated-log. Without holders there is no queue. Time is the server's,
-- in microseconds; doubles hold those exactly until the year 2255.

-- How long the last fence is kept after the last lease: it matters only while the server's clock is behind it.
local FENCE_MS = 86400000

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local stored = redis.call('GET', KEYS[1])
local state = { 0 }
if stored then
  local fence, owner, mode, permits, own, untilUs, upgrade, leaseMs = cmsgpack.unpack(stored)
  if not owner then
    state = type(fence) == 'table' and fence or { fence }
  else
    state = { fence, { owner, mode, permits, own, untilUs, upgrade, leaseMs } }
  end
end
local changed = false

local function save()
  local last = now
  for i = 2, #state do last = math.max(last, state[i][5]) end
  local packed
  if #state > 2 then
    packed = cmsgpack.pack(state)
  elseif #state == 2 then
    packed = cmsgpack.pack(state[1], unpack(state[2]))
  else
    packed = cmsgpack.pack(state[1])
  end
  redis.call('SET', KEYS[1], packed, 'PX', math.ceil((last - now) / 1000) + FENCE_MS)
end

local function nextFence()
  state[1] = math.max(state[1] + 1, now)
  return state[1]
end

local function find(owner)
  for i = 2, #state do
    if state[i][1] == owner then return state[i], i end
  end
end

-- A lease is never shortened: a call that arrives late takes nothing back.
local function keep(holder, leaseMs)
  holder[5] = math.max(holder[5], now + leaseMs * 1000)
  holder[7] = leaseMs
end

local function upgradeWaits()
  for i = 2, #state do
    if state[i][6] then return true end
  end
  return false
end

local function fits(mode, permits, total)
  local taken = 0
  for i = 2, #state do
    local holder = state[i]
    if holder[2] == 'e' or holder[2] ~= mode then return false end
    taken = taken + holder[3]
  end
  return mode ~= 'p' or taken + permits <= total
end

local function grant(owner, mode, permits, leaseMs)
  local fence = nextFence()
  state[#state + 1] = { owner, mode, permits, fence, now + leaseMs * 1000, false, leaseMs }
  return fence
end

local function tell(inbox, owner, fence, leaseMs)
  redis.call('PUBLISH', inbox, owner .. '\\n' .. string.format('%.0f', fence) .. '\\n' .. string.format('%.0f', leaseMs))
end

local function leave(owner)
  redis.call('ZREM', KEYS[2], owner)
  redis.call('HDEL', KEYS[3], owner)
end

-- The place of an owner in the queue, unless it has run out.
local function place(owner)
  local packed = redis.call('HGET', KEYS[3], owner)
  local waiter = packed and cmsgpack.unpack(packed)
  return waiter and waiter[5] > now and waiter
end

-- Grants to the upgrade or the first of the queue whatever it can have. Dead waiters go when they are the first.
local function handOver()
  local sole = state[2]
  if #state == 2 and sole[6] then
    tell(sole[6], sole[1], nextFence(), sole[7])
    sole[2], sole[4], sole[6] = 'e', state[1], false
    keep(sole, sole[7])
    changed = true
  end
  if upgradeWaits() then return end
  while true do
    local first = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
    if not first then return end
    local waiter = place(first)
    if waiter and not fits(waiter[1], waiter[2], waiter[3]) then return end
    leave(first)
    if waiter then
      tell(waiter[6], first, grant(first, waiter[1], waiter[2], waiter[4]), waiter[4])
      changed = true
    end
  end
end

-- Lets go of the holders whose lease is over, and hands over what they had.
if #state > 1 then
  for i = #state, 2, -1 do
    if state[i][5] <= now then
      table.remove(state, i)
      changed = true
    end
  end
end`,
  'redis-release-sole': `-- The short way of a release: by the only holder, with nobody waiting. If its lease is over nobody has noticed, so that
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
end`,
  'redis-release': `-- ARGV: owner. Returns 1 if it had the lock or a place until now, else 0.
local own, at = find(ARGV[1])
local had = own ~= nil
if own then
  table.remove(state, at)
  changed = true
else
  had = place(ARGV[1]) and true or false
  leave(ARGV[1])
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
