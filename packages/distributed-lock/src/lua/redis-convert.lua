-- ARGV: owner, mode, leaseMs, inbox ('': does not wait)
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
return answer
