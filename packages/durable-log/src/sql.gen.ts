// Written by `npm run embed` from src/sql/. Edit those files.
export const sql = {
  '001-log-mysql': `-- Logs by name: who may write, the hard state, and where the log begins.
create table quorate_log (
  log_name varbinary(255) primary key,
  -- Rises with every opening; a writer of an older epoch is refused.
  epoch bigint not null,
  state longblob not null,
  anchor_index bigint not null,
  anchor_term bigint not null,
  -- The snapshot in force.
  snapshot_id bigint
) engine = InnoDB;

create table quorate_log_entry (
  log_name varbinary(255) not null,
  entry_index bigint not null,
  term bigint not null,
  kind varbinary(16) not null,
  proposal varbinary(255),
  data longblob not null,
  primary key (log_name, entry_index)
) engine = InnoDB;

create table quorate_log_snapshot (
  log_name varbinary(255) not null,
  snapshot_id bigint not null,
  entry_index bigint not null,
  term bigint not null,
  membership longblob not null,
  size_bytes bigint not null,
  primary key (log_name, snapshot_id)
) engine = InnoDB;

create table quorate_log_chunk (
  log_name varbinary(255) not null,
  snapshot_id bigint not null,
  chunk integer not null,
  data longblob not null,
  primary key (log_name, snapshot_id, chunk)
) engine = InnoDB;`,
  '001-log-postgres': `-- Logs by name: who may write, the hard state, and where the log begins.
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
);`,
  'term-changes': `select entry_index, term from (
  select entry_index, term, lag(term) over (order by entry_index) as term_before
  from quorate_log_entry where log_name = ?
) as entries
where term_before is null or term_before <> term
order by entry_index`,
} as const;
