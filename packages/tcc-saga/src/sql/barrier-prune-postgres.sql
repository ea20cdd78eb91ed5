delete from tx_barrier
where ctid = any (array(
  select ctid from tx_barrier
  where created_at < clock_timestamp() - $1::float8 * interval '1 millisecond'
  order by created_at
  limit $2
))
