-- statement_timestamp() and not clock_timestamp(): only a stable function can bound the scan of the index.
with due as materialized (
  select s.id
  from saga_instance s
  where s.ended_at is null
    and s.next_run_at <= statement_timestamp()
    and (s.definition, s.version) in (select * from unnest($2::text[], $3::integer[]))
  order by s.next_run_at
  limit $4
  for update skip locked
)
update saga_instance s
set lease_owner = $1,
  fence = s.fence + 1,
  attempts = s.attempts + 1,
  next_run_at = clock_timestamp() + $5::float8 * interval '1 millisecond'
from due
where s.id = due.id
returning s.id, s.definition, s.version, s.status, s.reason, s.input::text as input, s.branches::text as branches,
  s.fence, s.attempts,
  (extract(epoch from s.deadline_at - clock_timestamp()) * 1000)::float8 as remaining_ms
