-- $1 owner, then one array per column; `delay_ms` is null where the message dies. Locking the partitions keeps them
-- from changing hands until the verdicts are in.
with failed as materialized (
  select v.*
  from unnest(
    $2::integer[], $3::bigint[], $4::bigint[], $5::text[], $6::float8[], $7::boolean[]
  ) as v (partition, fence, seq, reason, delay_ms, block)
  join outbox_partition as p on p.partition = v.partition and p.fence = v.fence and p.owner = $1
  order by p.partition
  for share of p
),
retried as (
  update outbox_message as m
  set attempts = m.attempts + 1, last_error = f.reason
  from failed as f
  where m.partition = f.partition and m.seq = f.seq and f.delay_ms is not null
  returning m.partition, m.topic, m.key, f.delay_ms, f.reason
),
dying as (
  delete from outbox_message as m
  using failed as f
  where m.partition = f.partition and m.seq = f.seq and f.delay_ms is null
  returning m.*, f.reason, f.block
),
dead as (
  insert into outbox_dead
    (partition, seq, key_hash, id, topic, key, payload, headers, attempts, reason, created_at)
  select partition, seq, key_hash, id, topic, key, payload, headers, attempts + 1, reason, created_at
  from dying
  returning partition
),
blocked as (
  insert into outbox_key_block (partition, topic, key, until, reason)
  select partition, topic, key, clock_timestamp() + delay_ms * interval '1 millisecond', reason from retried
  union all
  select partition, topic, key, 'infinity', reason from dying where block
  on conflict (partition, topic, key) do update set until = excluded.until, reason = excluded.reason
  returning partition
)
select (select count(*) from retried)::integer + (select count(*) from dead)::integer as settled
