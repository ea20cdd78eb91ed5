update quorate_lock
set
  fence = $3,
  state = $4,
  changed_at = clock_timestamp()
where
  key = $1
  and fence = $2
