create table stock (
  sku text primary key,
  on_hand integer not null default 0 check (on_hand >= 0),
  -- Promised to orders that are not decided yet; still on hand.
  reserved integer not null default 0 check (reserved >= 0 and reserved <= on_hand)
);

-- Goods that came in. The reference makes a receipt that is reported twice count once.
create table goods_receipt (
  reference text primary key,
  sku text not null references stock,
  quantity integer not null check (quantity > 0),
  received_at timestamptz not null default clock_timestamp()
);

create table reservation (
  order_id text not null,
  sku text not null references stock,
  quantity integer not null check (quantity > 0),
  state text not null default 'reserved' check (state in ('reserved', 'shipped', 'released')),
  primary key (order_id, sku)
);

-- Goods that went out. No key forbids that an order ships twice: the barrier does, and the audit counts.
create table shipment (
  id bigint generated always as identity primary key,
  order_id text not null,
  sku text not null references stock,
  quantity integer not null check (quantity > 0),
  shipped_at timestamptz not null default clock_timestamp()
);
