insert into saga_instance
  (id, definition, version, status, input, branches, dedupe_key, deadline_at, next_run_at, lease_owner, fence, attempts)
select b.id, b.definition, b.version, 'trying', b.input::json, b.branches::json, b.dedupe_key,
  clock_timestamp() + b.deadline_ms * interval '1 millisecond',
  clock_timestamp() + b.lease_ms * interval '1 millisecond',
  b.owner,
  -- Whoever begins with a lease has made the first claim and the first attempt.
  case when b.owner is null then 0 else 1 end,
  case when b.owner is null then 0 else 1 end
from unnest(
  $1::text[], $2::text[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::float8[], $8::float8[], $9::text[]
) as b (id, definition, version, input, branches, dedupe_key, deadline_ms, lease_ms, owner)
on conflict do nothing
returning id
