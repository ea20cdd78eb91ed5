-- Logs by name: who may write, the hard state, and where the log begins.
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
) engine = InnoDB;
