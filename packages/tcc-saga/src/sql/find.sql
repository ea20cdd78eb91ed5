select id, definition, version, status, reason, input::text as input, branches::text as branches, error, attempts,
  lease_owner,
  (extract(epoch from created_at) * 1000)::float8 as created_ms,
  (extract(epoch from deadline_at) * 1000)::float8 as deadline_ms,
  (extract(epoch from next_run_at) * 1000)::float8 as next_run_ms,
  (extract(epoch from ended_at) * 1000)::float8 as ended_ms
from saga_instance
where id = any ($1::text[])
