update saga_instance s
set status = u.status,
  reason = u.reason,
  branches = u.branches::json,
  error = u.error,
  attempts = u.attempts,
  next_run_at = clock_timestamp() + u.delay_ms * interval '1 millisecond',
  lease_owner = case when u.why = 'decision' then s.lease_owner end,
  decided_at = case when u.why = 'decision' then clock_timestamp() else s.decided_at end,
  ended_at = case when u.why = 'end' then clock_timestamp() end
from unnest(
  $1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::integer[], $9::float8[]
) as u (id, fence, why, status, reason, branches, error, attempts, delay_ms)
where s.id = u.id and s.fence = u.fence and s.ended_at is null
returning s.id
