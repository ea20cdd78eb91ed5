// Written by `npm run embed` from src/sql/. Edit those files.
export const sql = {
  'ack': `-- $1 owner, $2 partitions, $3 fences, $4 numbers. A relay whose fence was passed deletes nothing.
delete from outbox_message as m
using unnest($2::integer[], $3::bigint[], $4::bigint[]) as done (partition, fence, seq)
join outbox_partition as p on p.partition = done.partition and p.fence = done.fence and p.owner = $1
where m.partition = done.partition and m.seq = done.seq`,
  'acquire': `-- $1 owner, $2 lease in milliseconds, $3 how many, $4 partitions held already. The lowest free ones that nobody else
-- is taking at the moment.
update outbox_partition as p
set owner = $1, fence = p.fence + 1, lease_until = clock_timestamp() + $2::float8 * interval '1 millisecond'
from (
  select partition from outbox_partition
  where (owner is null or owner = $1 or lease_until <= clock_timestamp()) and partition <> all ($4::integer[])
  order by partition
  limit $3
  for update skip locked
) as free
where p.partition = free.partition
returning p.partition, p.fence::text as fence`,
  'discard': `-- $1 identifiers. The messages are gone, and their keys go on without them.
with discarded as (
  delete from outbox_dead where id = any ($1::text[]) returning partition, topic, key
),
unblocked as (
  delete from outbox_key_block as b using discarded as d
  where b.partition = d.partition and b.topic = d.topic and b.key = d.key
)
select count(*)::integer as discarded from discarded`,
  'fail': `-- $1 owner, then one array per column; \`delay_ms\` is null where the message dies. Locking the partitions keeps them
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
select (select count(*) from retried)::integer + (select count(*) from dead)::integer as settled`,
  'fetch': `-- $1 partitions in the order of their turn, $2 hashes of the keys in flight, $3 most rows.
select m.partition, m.seq::text as seq, m.key_hash, m.id, m.topic, m.key, m.payload::text as payload,
  m.headers::text as headers, m.attempts, extract(epoch from m.created_at)::float8 * 1000 as created_at
from outbox_fetch($1::integer[], $2::integer[], $3::integer) as m`,
  'heartbeat': `-- $1 owner, $2 lease in milliseconds, $3 partitions held, $4 their fences.
with alive as (
  insert into outbox_relay (owner, lease_until)
  values ($1, clock_timestamp() + $2::float8 * interval '1 millisecond')
  on conflict (owner) do update set lease_until = excluded.lease_until
),
forgotten as (
  delete from outbox_relay where owner in (
    select owner from outbox_relay
    where lease_until < clock_timestamp() - interval '1 hour' for update skip locked
  )
),
mine as (
  -- In order, as every statement locks several partitions, so that none waits for the other.
  select p.partition
  from unnest($3::integer[], $4::bigint[]) as held (partition, fence)
  join outbox_partition as p on p.partition = held.partition and p.fence = held.fence and p.owner = $1
  order by p.partition
  for no key update of p
),
renewed as (
  update outbox_partition as p
  set lease_until = clock_timestamp() + $2::float8 * interval '1 millisecond'
  from mine
  where p.partition = mine.partition
  returning p.partition
),
unblocked as (
  delete from outbox_key_block where partition = any ($3::integer[]) and until <= clock_timestamp()
)
select json_build_object(
  'held', (select coalesce(json_agg(partition), '[]') from renewed),
  'free', (
    select count(*) from outbox_partition where owner is null or owner = $1 or lease_until <= clock_timestamp()
  ) - (select count(*) from renewed),
  'partitions', (select count(*) from outbox_partition),
  'relays', (
    select coalesce(json_agg(owner), '[]') from outbox_relay where owner <> $1 and lease_until > clock_timestamp()
  )
)::text as view`,
  'inbox-1.mysql': `-- Binary columns compare byte by byte: no collation makes two identifiers one.
create table if not exists inbox_seen (
  consumer varbinary(255) not null,
  message_id varbinary(255) not null,
  result longtext character set utf8mb4,
  seen_at timestamp(3) not null default current_timestamp(3),
  primary key (consumer, message_id),
  key inbox_seen_age (consumer, seen_at)
) engine = InnoDB`,
  'inbox-1.postgres': `create table inbox_seen (
  consumer text not null,
  message_id text not null,
  result json,
  seen_at timestamptz not null default clock_timestamp(),
  primary key (consumer, message_id)
);
create index inbox_seen_age on inbox_seen (consumer, seen_at);`,
  'inbox-prune.mysql': `-- The limit is written in: MySQL refuses one that is bound as mysql2 bound numbers before 3.24.
delete from inbox_seen
where consumer = ? and seen_at < current_timestamp(3) - interval ? * 1000 microsecond
order by seen_at
limit {limit}`,
  'inbox-prune.postgres': `delete from inbox_seen
where (consumer, message_id) in (
  select consumer, message_id from inbox_seen
  where consumer = $1 and seen_at < clock_timestamp() - $2::float8 * interval '1 millisecond'
  order by seen_at
  limit $3
  for update skip locked
)`,
  'list-dead': `-- $1 topic or null, $2 and $3 the place after which to begin, $4 most rows.
select partition, seq::text as seq, id, topic, key, payload::text as payload, headers::text as headers, attempts,
  reason, extract(epoch from created_at)::float8 * 1000 as created_at,
  extract(epoch from died_at)::float8 * 1000 as died_at
from outbox_dead
where ($1::text is null or topic = $1) and (partition, seq) > ($2::integer, $3::bigint)
order by partition, seq
limit $4`,
  'outbox-1.postgres': `-- {partitions} is replaced by the number of partitions.
create table outbox_settings (
  singleton boolean primary key default true check (singleton),
  -- Fixed for ever: a key's partition is its hash modulo this number.
  partitions integer not null check (partitions between 1 and 1024)
);
insert into outbox_settings (partitions) values ({partitions});

-- Messages that are committed and not yet published. \`seq\` rises within a key in the order of the commits.
create table outbox_message (
  partition integer not null,
  seq bigint generated always as identity,
  -- The first four bytes of SHA-256 of the key.
  key_hash integer not null,
  id text not null,
  topic text not null,
  key text not null,
  -- json, not jsonb: a message is delivered as it was published, and never queried by content.
  payload json not null,
  headers json not null,
  attempts integer not null default 0,
  last_error text,
  created_at timestamptz not null default clock_timestamp(),
  primary key (partition, seq)
) with (
  -- Rows live for milliseconds, so the table is vacuumed by the number of dead rows, not by its size.
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 20000
);

-- Who publishes which partition. \`fence\` rises with every change of hands.
create table outbox_partition (
  partition integer primary key,
  owner text,
  fence bigint not null default 0,
  lease_until timestamptz not null default '-infinity'
);
insert into outbox_partition (partition) select generate_series(0, {partitions} - 1);

-- Relays that are alive, so that they can share the partitions.
create table outbox_relay (
  owner text primary key,
  lease_until timestamptz not null
);

-- Keys whose messages wait: after a failure until its backoff is over, after a dead letter for ever.
create table outbox_key_block (
  partition integer not null,
  topic text not null,
  key text not null,
  until timestamptz not null,
  reason text not null,
  primary key (partition, topic, key)
);

-- Messages that were given up, with the reason.
create table outbox_dead (
  partition integer not null,
  seq bigint not null,
  key_hash integer not null,
  id text not null,
  topic text not null,
  key text not null,
  payload json not null,
  headers json not null,
  attempts integer not null,
  reason text not null,
  created_at timestamptz not null,
  died_at timestamptz not null default clock_timestamp(),
  primary key (partition, seq)
);
create index outbox_dead_id on outbox_dead (id);`,
  'outbox-2.postgres': `-- What a relay may publish next: the rows of the partitions wanted, in the order of their turn, without the keys that
-- are in flight or blocked. There is no cursor: a row with a low number may be committed after one with a high number
-- was published.
--
-- The settings bind the planner to the primary key, from which it stops reading when it has enough. Left alone it
-- prefers, while the backlog is short, to read all of a partition and to sort it; such scans do not mark the index
-- entries of deleted rows either, so that each look at an empty outbox would visit all that was published since the
-- last vacuum. A plan per call knows how many keys are in flight, and hashes them.
create function outbox_fetch(wanted integer[], in_flight integer[], most integer)
returns setof outbox_message
language plpgsql stable
set enable_bitmapscan = off
set enable_seqscan = off
set enable_sort = off
set plan_cache_mode = force_custom_plan
as $$
begin
  return query
  select m.*
  from unnest(wanted) as p (partition)
  cross join lateral (
    select *
    from outbox_message as m
    where m.partition = p.partition
      and m.key_hash <> all (in_flight)
      and not exists (
        select from outbox_key_block as b
        where b.partition = m.partition and b.topic = m.topic and b.key = m.key and b.until > statement_timestamp()
      )
    order by m.seq
    limit most
  ) as m
  limit most;
end
$$`,
  'publish': `-- $1 lock slots, sorted; $2.. one array per column. The sort makes the statement take every lock before it draws
-- the first number of the sequence, so that numbers of one key rise in the order in which transactions commit.
insert into outbox_message (partition, key_hash, id, topic, key, payload, headers)
select (m.key_hash::bigint & 4294967295) % s.partitions, m.key_hash, m.id, m.topic, m.key, m.payload, m.headers
from (
  select count(pg_advisory_xact_lock({lock_class}, slot)) as held from unnest($1::integer[]) as slot
) as locks
cross join outbox_settings as s
cross join unnest($2::integer[], $3::text[], $4::text[], $5::text[], $6::json[], $7::json[])
  with ordinality as m (key_hash, id, topic, key, payload, headers, position)
where locks.held >= 0
order by m.position`,
  'redrive': `-- $1 identifiers. The messages return to the places that they had, and their keys go on.
with revived as (
  delete from outbox_dead where id = any ($1::text[]) returning *
),
unblocked as (
  delete from outbox_key_block as b using revived as r
  where b.partition = r.partition and b.topic = r.topic and b.key = r.key
)
insert into outbox_message (partition, seq, key_hash, id, topic, key, payload, headers, last_error, created_at)
overriding system value
select partition, seq, key_hash, id, topic, key, payload, headers, reason, created_at from revived`,
  'release': `-- $1 owner, $2 partitions, $3 their fences.
update outbox_partition as p
set owner = null, lease_until = '-infinity'
from unnest($2::integer[], $3::bigint[]) as held (partition, fence)
where p.partition = held.partition and p.fence = held.fence and p.owner = $1`,
  'status': `select json_build_object(
  'pending', (select count(*) from outbox_message),
  'oldestMs', (
    select coalesce(extract(epoch from clock_timestamp() - min(created_at)) * 1000, 0) from outbox_message
  ),
  'blockedKeys', (select count(*) from outbox_key_block where until > clock_timestamp()),
  'dead', (select count(*) from outbox_dead),
  'partitions', (select partitions from outbox_settings),
  'leasedPartitions', (select count(*) from outbox_partition where lease_until > clock_timestamp()),
  'relays', (
    select coalesce(json_agg(owner order by owner), '[]') from outbox_relay where lease_until > clock_timestamp()
  )
)::text as status`,
} as const;
