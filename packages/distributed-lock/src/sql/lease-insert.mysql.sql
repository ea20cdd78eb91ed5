insert ignore into quorate_lock (`key`, fence, state, changed_at)
select
  ?,
  ?,
  ?,
  utc_timestamp(6)
from
  quorate_lock_floor
where
  id = 1
  and fence = ?
lock in share mode
