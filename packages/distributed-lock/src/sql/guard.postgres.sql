insert into quorate_lock_guard as g (key, fence)
values
  ($1, $2)
on conflict (key) do update
set
  fence = excluded.fence
where
  g.fence <= excluded.fence
