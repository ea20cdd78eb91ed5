delete from quorate_lock
where
  key in (
    select
      key
    from
      quorate_lock
    where
      state = ''
      and changed_at < clock_timestamp() - make_interval(secs => $1::double precision / 1000)
    limit
      $2
    for update skip locked
  )
returning
  fence
