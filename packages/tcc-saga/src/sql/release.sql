with held as materialized (
  select s.id
  from saga_instance s
  join unnest($1::text[], $2::bigint[]) as u (id, fence) on s.id = u.id and s.fence = u.fence
  where s.ended_at is null
  for update of s skip locked
)
update saga_instance s
set next_run_at = clock_timestamp(), lease_owner = null
from held
where s.id = held.id
