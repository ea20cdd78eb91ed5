-- All amounts are in cents.
create table account (
  id text primary key,
  available bigint not null default 0 check (available >= 0),
  -- Set aside for orders that are not decided yet.
  frozen bigint not null default 0 check (frozen >= 0),
  -- How the simulated bank behind this account behaves; 'normal' unless it is a test account.
  bank text not null default 'normal' check (bank in ('normal', 'blocked', 'silent', 'late'))
);

-- Money that came in. The reference makes a deposit that is reported twice count once.
create table deposit (
  reference text primary key,
  account_id text not null references account,
  amount bigint not null check (amount > 0),
  deposited_at timestamptz not null default clock_timestamp()
);

create table payment (
  order_id text primary key,
  account_id text not null references account,
  amount bigint not null check (amount > 0),
  state text not null default 'frozen' check (state in ('frozen', 'captured', 'released'))
);

-- Money that went out. No key forbids that an order is captured twice: the barrier does, and the audit counts.
create table capture (
  id bigint generated always as identity primary key,
  order_id text not null,
  account_id text not null references account,
  amount bigint not null check (amount > 0),
  captured_at timestamptz not null default clock_timestamp()
);
