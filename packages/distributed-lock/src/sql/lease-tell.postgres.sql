with written as (
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
  unnest($5::text[], $6::text[]) as t (channel, payload)
