insert into quorate_lock_guard (`key`, fence)
values
  (?, ?)
on duplicate key update
  fence = greatest(fence, ?)
