// Written by `npm run embed` from src/sql/. Edit those files.
export const sql = {
  'guard-read.mysql': `select
  fence
from
  quorate_lock_guard
where
  \`key\` = ?
for update`,
  'guard.mysql': `insert into quorate_lock_guard (\`key\`, fence)
values
  (?, ?)
on duplicate key update
  fence = greatest(fence, ?)`,
  'guard.postgres': `insert into quorate_lock_guard as g (key, fence)
values
  ($1, $2)
on conflict (key) do update
set
  fence = excluded.fence
where
  g.fence <= excluded.fence`,
  'lease-insert.mysql': `insert ignore into quorate_lock (\`key\`, fence, state, changed_at)
select
  ?,
  ?,
  ?,
  utc_timestamp(6)
from
  quorate_lock_floor
where
  id = 1
  and fence = ?
lock in share mode`,
  'lease-insert.postgres': `insert into quorate_lock (key, fence, state)
select
  $1,
  $3,
  $4
from
  quorate_lock_floor
where
  id = 1
  and fence = $2
for share
on conflict do nothing`,
  'lease-prune-find.mysql': `select
  \`key\`,
  fence
from
  quorate_lock
where
  state = ''
  and changed_at < utc_timestamp(6) - interval ? microsecond`,
  'lease-prune.postgres': `delete from quorate_lock
where
  key in (
    select
      key
    from
      quorate_lock
    where
      state = ''
      and changed_at < clock_timestamp() - make_interval(secs => $1::double precision / 1000)
    limit
      $2
    for update skip locked
  )
returning
  fence`,
  'lease-read.mysql': `select
  l.fence,
  l.state,
  f.fence as floor,
  timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) / 1000 as now_ms
from
  quorate_lock_floor f
  left join quorate_lock l on l.\`key\` = ?
where
  f.id = 1`,
  'lease-read.postgres': `select
  l.fence,
  l.state,
  f.fence as floor,
  (extract(epoch from clock_timestamp()) * 1000)::double precision as now_ms
from
  quorate_lock_floor f
  left join quorate_lock l on l.key = $1
where
  f.id = 1`,
  'lease-tell.postgres': `with written as (
  update quorate_lock
  set
    fence = $3,
    state = $4,
    changed_at = clock_timestamp()
  where
    key = $1
    and fence = $2
  returning 1
)
select
  pg_notify(t.channel, t.payload)
from
  written,
  unnest($5::text[], $6::text[]) as t (channel, payload)`,
  'lease-write.mysql': `update quorate_lock
set
  fence = ?,
  state = ?,
  changed_at = utc_timestamp(6)
where
  \`key\` = ?
  and fence = ?`,
  'lease-write.postgres': `update quorate_lock
set
  fence = $3,
  state = $4,
  changed_at = clock_timestamp()
where
  key = $1
  and fence = $2`,
  'lock-1.mysql': `create table if not exists quorate_lock (
  \`key\` varbinary(255) not null primary key,
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
  \`key\` varbinary(255) not null primary key,
  fence bigint not null
) engine = InnoDB;`,
  'lock-1.postgres': `create table quorate_lock (
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
) with (fillfactor = 50);`,
  'session-batch.postgres': `select
  case
    when current_setting('quorate.lock_session', true) = $3 then case kind
      when 'lock' then case
        when pg_try_advisory_lock(id) then nextval('quorate_lock_fence')
        else 0
      end
      when 'lock-shared' then case
        when pg_try_advisory_lock_shared(id) then nextval('quorate_lock_fence')
        else 0
      end
      when 'unlock' then pg_advisory_unlock(id)::int
      when 'unlock-shared' then pg_advisory_unlock_shared(id)::int
      else 1
    end
  end as result
from
  unnest($1::text[], $2::bigint[]) as t (kind, id)`,
} as const;
