-- Logs by name: who may write, the hard state, and where the log begins.
create table quorate_log (
  log_name text primary key,
  -- Rises with every opening; a writer of an older epoch is refused.
  epoch bigint not null,
  state bytea not null,
  anchor_index bigint not null,
  anchor_term bigint not null,
  -- The snapshot in force.
  snapshot_id bigint
);

create table quorate_log_entry (
  log_name text not null,
  entry_index bigint not null,
  term bigint not null,
  kind text not null,
  proposal text,
  data bytea not null,
  primary key (log_name, entry_index)
);

create table quorate_log_snapshot (
  log_name text not null,
  snapshot_id bigint not null,
  entry_index bigint not null,
  term bigint not null,
  membership bytea not null,
  size_bytes bigint not null,
  primary key (log_name, snapshot_id)
);

create table quorate_log_chunk (
  log_name text not null,
  snapshot_id bigint not null,
  chunk integer not null,
  data bytea not null,
  primary key (log_name, snapshot_id, chunk)
);
