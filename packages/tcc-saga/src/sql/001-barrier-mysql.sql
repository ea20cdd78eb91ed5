-- The memory of a participant for the calls that it has seen, in its own database.
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
) engine = InnoDB
