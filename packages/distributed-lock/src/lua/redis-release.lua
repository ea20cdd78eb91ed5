-- ARGV: owner. Returns 1 if it had the lock or a place until now, else 0.
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
return had and 1 or 0
