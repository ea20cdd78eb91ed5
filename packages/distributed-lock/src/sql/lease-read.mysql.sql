select
  l.fence,
  l.state,
  f.fence as floor,
  timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) / 1000 as now_ms
from
  quorate_lock_floor f
  left join quorate_lock l on l.`key` = ?
where
  f.id = 1
