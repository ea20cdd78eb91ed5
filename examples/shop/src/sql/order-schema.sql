create table customer_order (
  id text primary key,
  -- Chosen by the client: a request that is repeated finds the order that it made the first time.
  idempotency_key text not null unique,
  -- SHA-256 of the request, so that a key that is reused for another order is noticed.
  request_hash text not null,
  account text not null,
  email text not null,
  lines jsonb not null,
  -- In cents, from the prices of the moment.
  total bigint not null check (total > 0),
  state text not null default 'pending' check (state in ('pending', 'confirmed', 'cancelled')),
  reason text,
  created_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz
);
create index customer_order_recent on customer_order (created_at desc, id);
