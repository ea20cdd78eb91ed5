create table quorate_lock (
  key bytea primary key,
  fence bigint not null,
  state text not null,
  changed_at timestamptz not null default clock_timestamp()
) with (fillfactor = 50);

create table quorate_lock_floor (
  id integer primary key check (id = 1),
  fence bigint not null
);

insert into quorate_lock_floor values (1, 0);

create sequence quorate_lock_fence;

create table quorate_lock_guard (
  key bytea primary key,
  fence bigint not null
) with (fillfactor = 50);
