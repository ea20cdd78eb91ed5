-- What every operation begins with. One lock is three keys of one slot:
--
-- KEYS[1]  msgpack { fence, holder, ... }, a holder being { owner, mode, permits, fence, untilUs, upgrade, leaseMs }:
--          mode is e, s or p; upgrade is the inbox of one that waits to become exclusive, or false.
--          With one holder the values follow each other without arrays around them, with none only the fence is there:
--          the short ways of claim and release read and write those without a table.
-- KEYS[2]  sorted set: owners that wait, by their number in the queue
-- KEYS[3]  hash: owner -> msgpack { mode, permits, total, leaseMs, untilUs, inbox }
--
-- The rules are those of `LockTable` of @quorate/replicated-log. Without holders there is no queue. Time is the server's,
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
  redis.call('PUBLISH', inbox, owner .. '\n' .. string.format('%.0f', fence) .. '\n' .. string.format('%.0f', leaseMs))
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
end
