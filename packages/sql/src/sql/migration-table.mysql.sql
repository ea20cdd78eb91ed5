create table if not exists quorate_migration (
  name varchar(63) character set ascii not null,
  id integer not null,
  title varchar(255) not null,
  checksum char(64) character set ascii not null,
  done integer not null,
  applied_at timestamp(6) null,
  primary key (name, id)
) engine = InnoDB
