delete from saga_instance
where id in (
  select id from saga_instance
  where ended_at < clock_timestamp() - $1::float8 * interval '1 millisecond'
  order by ended_at
  limit $2
  for update skip locked
)
