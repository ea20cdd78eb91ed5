-- Rows that are locked are being written, by a write that renews their lease itself: never wait for them, or two
-- statements over several rows could deadlock.
with held as materialized (
  select s.id
  from saga_instance s
  join unnest($1::text[], $2::bigint[]) as u (id, fence) on s.id = u.id and s.fence = u.fence
  where s.ended_at is null
  for update of s skip locked
), renewed as (
  update saga_instance s
  set next_run_at = clock_timestamp() + $3::float8 * interval '1 millisecond'
  from held
  where s.id = held.id
  returning s.id
)
select u.id, renewed.id is not null as renewed, s.fence is distinct from u.fence or s.ended_at is not null as lost
from unnest($1::text[], $2::bigint[]) as u (id, fence)
left join saga_instance s on s.id = u.id
left join renewed on renewed.id = u.id
