-- ARGV: owner, leaseMs. Returns 1 if it is held, 0 if it is lost.
if changed then handOver() end
local own = find(ARGV[1])
if own then keep(own, tonumber(ARGV[2])) end
if own or changed then save() end
return own and 1 or 0
