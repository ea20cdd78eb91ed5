-- ARGV: owner. Returns 1 if it had the lock or a place until now, else 0.
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
return had and 1 or 0
