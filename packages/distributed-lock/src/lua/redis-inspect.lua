-- Returns { waiting, owner, mode, permits, fence, owner, ... }
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
return answer
