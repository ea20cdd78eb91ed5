select
  l.fence,
  l.state,
  f.fence as floor,
  (extract(epoch from clock_timestamp()) * 1000)::double precision as now_ms
from
  quorate_lock_floor f
  left join quorate_lock l on l.key = $1
where
  f.id = 1
