-- $1 partitions in the order of their turn, $2 hashes of the keys in flight, $3 most rows.
select m.partition, m.seq::text as seq, m.key_hash, m.id, m.topic, m.key, m.payload::text as payload,
  m.headers::text as headers, m.attempts, extract(epoch from m.created_at)::float8 * 1000 as created_at
from outbox_fetch($1::integer[], $2::integer[], $3::integer) as m
