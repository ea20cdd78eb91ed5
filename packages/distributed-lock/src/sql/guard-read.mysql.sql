select
  fence
from
  quorate_lock_guard
where
  `key` = ?
for update
