-- $1 partitions in the order of their turn, $2 hashes of the keys in flight, $3 most rows.
-- There is no cursor: a row with a low number may be committed after one with a high number was published.
select m.partition, m.seq::text as seq, m.key_hash, m.id, m.topic, m.key, m.payload::text as payload,
  m.headers::text as headers, m.attempts, extract(epoch from m.created_at)::float8 * 1000 as created_at
from unnest($1::integer[]) as p (partition)
cross join lateral (
  select *
  from outbox_message as m
  where m.partition = p.partition
    and m.key_hash <> all ($2::integer[])
    and not exists (
      select from outbox_key_block as b
      where b.partition = m.partition and b.topic = m.topic and b.key = m.key and b.until > statement_timestamp()
    )
  order by m.seq
  limit $3
) as m
limit $3
