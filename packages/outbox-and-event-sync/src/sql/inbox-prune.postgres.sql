delete from inbox_seen
where (consumer, message_id) in (
  select consumer, message_id from inbox_seen
  where consumer = $1 and seen_at < clock_timestamp() - $2::float8 * interval '1 millisecond'
  order by seen_at
  limit $3
  for update skip locked
)
