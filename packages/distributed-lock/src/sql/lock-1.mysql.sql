create table if not exists quorate_lock (
  `key` varbinary(255) not null primary key,
  fence bigint not null,
  state longtext character set ascii not null,
  -- UTC. A timestamp would take it for the time of the session, whose zone leaves out an hour a year.
  changed_at datetime(6) not null
) engine = InnoDB;

create table if not exists quorate_lock_floor (
  id integer not null primary key,
  fence bigint not null
) engine = InnoDB;

insert ignore into quorate_lock_floor values (1, 0);

create table if not exists quorate_lock_guard (
  `key` varbinary(255) not null primary key,
  fence bigint not null
) engine = InnoDB;
