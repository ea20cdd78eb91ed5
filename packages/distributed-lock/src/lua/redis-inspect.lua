-- Returns { waiting, owner, mode, permits, fence, owner, ... }
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
return answer
