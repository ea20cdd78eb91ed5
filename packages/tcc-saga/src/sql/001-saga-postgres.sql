-- One row per TCC with its whole durable state, so that every move is one fenced write of one row.
create table saga_instance (
  id text primary key,
  definition text not null,
  version integer not null,
  status text not null check (status in ('trying', 'confirming', 'cancelling', 'confirmed', 'cancelled')),
  -- Why it was cancelled: 'refused' or 'deadline'.
  reason text,
  -- json, not jsonb: kept as it was given, and \u0000 is allowed.
  input json not null,
  -- {"<branch>": {"try": "pending|succeeded|refused", "second": "pending|done", "output": ...,
  --   "tryError": "...", "secondError": "..."}}
  branches json not null,
  -- The last error of the instance as a whole, such as that of a hook.
  error text,
  dedupe_key text,
  deadline_at timestamptz not null,
  -- From when on any coordinator may take it: the due time of its next attempt, or while one works on it the end of
  -- that lease.
  next_run_at timestamptz not null,
  lease_owner text,
  -- Counts claims. Every write names it, so that a coordinator that lost its lease changes nothing.
  fence bigint not null,
  -- Rounds begun in the present phase.
  attempts integer not null,
  created_at timestamptz not null default clock_timestamp(),
  decided_at timestamptz,
  ended_at timestamptz,
  constraint saga_instance_dedupe unique (definition, dedupe_key)
);

create index saga_instance_due on saga_instance (next_run_at) where ended_at is null;
create index saga_instance_ended on saga_instance (ended_at) where ended_at is not null;
