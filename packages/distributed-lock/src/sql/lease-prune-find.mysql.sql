select
  `key`,
  fence
from
  quorate_lock
where
  state = ''
  and changed_at < utc_timestamp(6) - interval ? microsecond
