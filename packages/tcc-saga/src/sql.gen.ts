// Written by `npm run embed` from src/sql/. Edit those files.
export const sql = {
  '001-barrier-mysql': `-- The memory of a participant for the calls that it has seen, in its own database.
-- varbinary compares byte by byte, where a text collation would pad with spaces or fold case.
create table tx_barrier (
  gid varbinary(255) not null,
  branch varbinary(255) not null,
  op varbinary(16) not null,
  seq integer not null,
  -- The op of the call that put the row in: the row of a try with the reason 'cancel' forbids that try.
  reason varbinary(16) not null,
  result longtext character set utf8mb4 collate utf8mb4_bin,
  created_at datetime(3) not null default current_timestamp(3),
  primary key (gid, branch, op, seq),
  key tx_barrier_created (created_at)
) engine = InnoDB`,
  '001-barrier-postgres': `-- The memory of a participant for the calls that it has seen, in its own database.
create table tx_barrier (
  gid text not null,
  branch text not null,
  op text not null check (op in ('try', 'confirm', 'cancel')),
  seq integer not null,
  -- The op of the call that put the row in: the row of a try with the reason 'cancel' forbids that try.
  reason text not null,
  result json,
  created_at timestamptz not null default clock_timestamp(),
  primary key (gid, branch, op, seq)
);

create index tx_barrier_created on tx_barrier (created_at);`,
  '001-saga-postgres': `-- One row per TCC with its whole durable state, so that every move is one fenced write of one row.
create table saga_instance (
  id text primary key,
  definition text not null,
  version integer not null,
  status text not null check (status in ('trying', 'confirming', 'cancelling', 'confirmed', 'cancelled')),
  -- Why it was cancelled: 'refused' or 'deadline'.
  reason text,
  -- json, not jsonb: kept as it was given, and \\u0000 is allowed.
  input json not null,
  -- {"<branch>": {"try": "pending|succeeded|refused", "second": "pending|done", "output": ...,
  --   "tryError": "...", "secondError": "..."}}
  branches json not null,
  -- The last error of the instance as a whole, such as that of a hook.
  error text,
  dedupe_key text,
  deadline_at timestamptz not null,
  -- From when on any coordinator may take it: the due time of its next attempt, or while one works on it the end of
  -- that lease.
  next_run_at timestamptz not null,
  lease_owner text,
  -- Counts claims. Every write names it, so that a coordinator that lost its lease changes nothing.
  fence bigint not null,
  -- Rounds begun in the present phase.
  attempts integer not null,
  created_at timestamptz not null default clock_timestamp(),
  decided_at timestamptz,
  ended_at timestamptz,
  constraint saga_instance_dedupe unique (definition, dedupe_key)
);

create index saga_instance_due on saga_instance (next_run_at) where ended_at is null;
create index saga_instance_ended on saga_instance (ended_at) where ended_at is not null;`,
  'barrier-enter-mysql': `insert ignore into tx_barrier (gid, branch, op, seq, reason) values (?, ?, ?, ?, ?)`,
  'barrier-enter-postgres': `-- One statement, insert only; a cancel's rows go in after one another. A conflicting call that is still under way is
-- waited for; under REPEATABLE READ and above a conflict with a row that the snapshot does not show fails with 40001.
insert into tx_barrier (gid, branch, op, seq, reason)
select $1, $2, o.op, $4::integer, $5::text
from unnest($3::text[]) with ordinality as o (op, position)
order by o.position
on conflict do nothing`,
  'barrier-enter-two-mysql': `insert ignore into tx_barrier (gid, branch, op, seq, reason) values (?, ?, ?, ?, ?), (?, ?, ?, ?, ?)`,
  'barrier-keep-mysql': `update tx_barrier set result = ? where gid = ? and branch = ? and op = ? and seq = ?`,
  'barrier-keep-postgres': `update tx_barrier set result = $1::json where gid = $2 and branch = $3 and op = $4 and seq = $5`,
  'barrier-leave-mysql': `delete from tx_barrier where gid = ? and branch = ? and op = ? and seq = ?`,
  'barrier-leave-postgres': `delete from tx_barrier where gid = $1 and branch = $2 and op = $3 and seq = $4`,
  'barrier-prune-mysql': `-- The limit is written in: MySQL refuses one that is bound as mysql2 bound numbers before 3.24.
delete from tx_barrier
where created_at < current_timestamp(3) - interval ? * 1000 microsecond
order by created_at
limit {limit}`,
  'barrier-prune-postgres': `delete from tx_barrier
where ctid = any (array(
  select ctid from tx_barrier
  where created_at < clock_timestamp() - $1::float8 * interval '1 millisecond'
  order by created_at
  limit $2
))`,
  'barrier-read-mysql': `-- A locking read sees what is committed now; the snapshot of REPEATABLE READ may be older than the row.
select convert(reason using utf8mb4) as reason, result
from tx_barrier
where gid = ? and branch = ? and op = ? and seq = ?
lock in share mode`,
  'barrier-read-postgres': `select reason, result::text as result from tx_barrier where gid = $1 and branch = $2 and op = $3 and seq = $4`,
  'begin': `insert into saga_instance
  (id, definition, version, status, input, branches, dedupe_key, deadline_at, next_run_at, lease_owner, fence, attempts)
select b.id, b.definition, b.version, 'trying', b.input::json, b.branches::json, b.dedupe_key,
  clock_timestamp() + b.deadline_ms * interval '1 millisecond',
  clock_timestamp() + b.lease_ms * interval '1 millisecond',
  b.owner,
  -- Whoever begins with a lease has made the first claim and the first attempt.
  case when b.owner is null then 0 else 1 end,
  case when b.owner is null then 0 else 1 end
from unnest(
  $1::text[], $2::text[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::float8[], $8::float8[], $9::text[]
) as b (id, definition, version, input, branches, dedupe_key, deadline_ms, lease_ms, owner)
on conflict do nothing
returning id`,
  'claim': `-- statement_timestamp() and not clock_timestamp(): only a stable function can bound the scan of the index.
with due as materialized (
  select s.id
  from saga_instance s
  where s.ended_at is null
    and s.next_run_at <= statement_timestamp()
    and (s.definition, s.version) in (select * from unnest($2::text[], $3::integer[]))
  order by s.next_run_at
  limit $4
  for update skip locked
)
update saga_instance s
set lease_owner = $1,
  fence = s.fence + 1,
  attempts = s.attempts + 1,
  next_run_at = clock_timestamp() + $5::float8 * interval '1 millisecond'
from due
where s.id = due.id
returning s.id, s.definition, s.version, s.status, s.reason, s.input::text as input, s.branches::text as branches,
  s.fence, s.attempts,
  (extract(epoch from s.deadline_at - clock_timestamp()) * 1000)::float8 as remaining_ms`,
  'find-begun': `select id, definition
from saga_instance
where id = $1 or (definition = $2 and dedupe_key = $3)
order by id = $1 desc
limit 1`,
  'find': `select id, definition, version, status, reason, input::text as input, branches::text as branches, error, attempts,
  lease_owner,
  (extract(epoch from created_at) * 1000)::float8 as created_ms,
  (extract(epoch from deadline_at) * 1000)::float8 as deadline_ms,
  (extract(epoch from next_run_at) * 1000)::float8 as next_run_ms,
  (extract(epoch from ended_at) * 1000)::float8 as ended_ms
from saga_instance
where id = any ($1::text[])`,
  'prune': `delete from saga_instance
where id in (
  select id from saga_instance
  where ended_at < clock_timestamp() - $1::float8 * interval '1 millisecond'
  order by ended_at
  limit $2
  for update skip locked
)`,
  'release': `with held as materialized (
  select s.id
  from saga_instance s
  join unnest($1::text[], $2::bigint[]) as u (id, fence) on s.id = u.id and s.fence = u.fence
  where s.ended_at is null
  for update of s skip locked
)
update saga_instance s
set next_run_at = clock_timestamp(), lease_owner = null
from held
where s.id = held.id`,
  'renew': `-- Rows that are locked are being written, by a write that renews their lease itself: never wait for them, or two
-- statements over several rows could deadlock.
with held as materialized (
  select s.id
  from saga_instance s
  join unnest($1::text[], $2::bigint[]) as u (id, fence) on s.id = u.id and s.fence = u.fence
  where s.ended_at is null
  for update of s skip locked
), renewed as (
  update saga_instance s
  set next_run_at = clock_timestamp() + $3::float8 * interval '1 millisecond'
  from held
  where s.id = held.id
  returning s.id
)
select u.id, renewed.id is not null as renewed, s.fence is distinct from u.fence or s.ended_at is not null as lost
from unnest($1::text[], $2::bigint[]) as u (id, fence)
left join saga_instance s on s.id = u.id
left join renewed on renewed.id = u.id`,
  'store': `update saga_instance s
set status = u.status,
  reason = u.reason,
  branches = u.branches::json,
  error = u.error,
  attempts = u.attempts,
  next_run_at = clock_timestamp() + u.delay_ms * interval '1 millisecond',
  lease_owner = case when u.why = 'decision' then s.lease_owner end,
  decided_at = case when u.why = 'decision' then clock_timestamp() else s.decided_at end,
  ended_at = case when u.why = 'end' then clock_timestamp() end
from unnest(
  $1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::integer[], $9::float8[]
) as u (id, fence, why, status, reason, branches, error, attempts, delay_ms)
where s.id = u.id and s.fence = u.fence and s.ended_at is null
returning s.id`,
} as const;
