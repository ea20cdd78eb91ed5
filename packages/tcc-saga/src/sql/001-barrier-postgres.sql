-- The memory of a participant for the calls that it has seen, in its own database.
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

create index tx_barrier_created on tx_barrier (created_at);
