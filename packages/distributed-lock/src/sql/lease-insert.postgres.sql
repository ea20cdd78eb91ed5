insert into quorate_lock (key, fence, state)
select
  $1,
  $3,
  $4
from
  quorate_lock_floor
where
  id = 1
  and fence = $2
for share
on conflict do nothing
