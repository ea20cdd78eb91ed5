-- $1 topic or null, $2 and $3 the place after which to begin, $4 most rows.
select partition, seq::text as seq, id, topic, key, payload::text as payload, headers::text as headers, attempts,
  reason, extract(epoch from created_at)::float8 * 1000 as created_at,
  extract(epoch from died_at)::float8 * 1000 as died_at
from outbox_dead
where ($1::text is null or topic = $1) and (partition, seq) > ($2::integer, $3::bigint)
order by partition, seq
limit $4
