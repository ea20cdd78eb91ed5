update quorate_lock
set
  fence = ?,
  state = ?,
  changed_at = utc_timestamp(6)
where
  `key` = ?
  and fence = ?
