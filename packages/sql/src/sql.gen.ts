// Written by `npm run embed` from src/sql/. Edit those files.
export const sql = {
  'migration-table.mysql': `create table if not exists quorate_migration (
  name varchar(63) character set ascii not null,
  id integer not null,
  title varchar(255) not null,
  checksum char(64) character set ascii not null,
  done integer not null,
  applied_at timestamp(6) null,
  primary key (name, id)
) engine = InnoDB`,
  'migration-table.postgres': `create table {table} (
  name text not null,
  id integer not null,
  title text not null,
  checksum text not null,
  done integer not null,
  applied_at timestamptz not null default clock_timestamp(),
  primary key (name, id)
)`,
} as const;
