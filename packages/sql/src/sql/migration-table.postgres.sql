create table {table} (
  name text not null,
  id integer not null,
  title text not null,
  checksum text not null,
  done integer not null,
  applied_at timestamptz not null default clock_timestamp(),
  primary key (name, id)
)
