// Written by `npm run embed` from src/sql/. Edit those files.
export const sql = {
  'audit-accounts': `-- Payment: what came in on each account, what went out, and what is there.
select a.id, a.available, a.frozen,
  (select coalesce(sum(amount), 0) from deposit d where d.account_id = a.id) as deposited,
  (select coalesce(sum(amount), 0) from capture c where c.account_id = a.id) as captured
from account a
order by a.id`,
  'audit-captures': `-- Payment: how often and how much was taken for each order.
select order_id as "order", count(*) as times, sum(amount) as amount from capture group by order_id order by order_id`,
  'audit-held': `-- Payment: money that is still set aside.
select order_id as "order", account_id as holder, amount from payment where state = 'frozen' order by order_id`,
  'audit-notifications': `-- Notification: how often the customer was told of each order.
select order_id as "order", count(*) as times from notification group by order_id order by order_id`,
  'audit-orders': `-- Order: every order beside the TCC transaction that decided it.
select o.id, o.state, o.reason, o.total, o.lines, o.idempotency_key as "idempotencyKey", s.id as "sagaId",
  s.status as saga
from customer_order o
full join saga_instance s on s.id = o.id
order by o.id`,
  'audit-outbox': `-- Order: events that nobody has received, and those that were given up.
select id, key as "order", 'waiting' as state, last_error as reason from outbox_message
union all
select id, key, 'dead', reason from outbox_dead
order by id`,
  'audit-reserved': `-- Inventory: goods that are still promised.
select order_id as "order", sku as holder, quantity as amount from reservation where state = 'reserved' order by order_id`,
  'audit-shipments': `-- Inventory: how often and how much of each item left for each order.
select order_id as "order", sku, count(*) as times, sum(quantity) as quantity
from shipment
group by order_id, sku
order by order_id, sku`,
  'audit-stock': `-- Inventory: what came in of each item, what went out, and what is there.
select s.sku, s.on_hand as "onHand", s.reserved,
  (select coalesce(sum(quantity), 0) from goods_receipt r where r.sku = s.sku) as received,
  (select coalesce(sum(quantity), 0) from shipment p where p.sku = s.sku) as shipped
from stock s
order by s.sku`,
  'inventory-lock': `-- $1 skus. Locks their rows, always in the same sequence, and says how much nobody was promised.
select sku, on_hand - reserved as free from stock where sku = any ($1::text[]) order by sku for update`,
  'inventory-receive': `-- $1 reference, $2 sku, $3 quantity. No row comes back when the reference was booked before.
with item as (
  insert into stock (sku) values ($2) on conflict (sku) do update set sku = excluded.sku returning sku
),
receipt as (
  insert into goods_receipt (reference, sku, quantity) select $1, sku, $3 from item
  on conflict (reference) do nothing
  returning reference
)
select reference from receipt`,
  'inventory-release': `-- $1 order: what was reserved for it, if anything, can be promised to others.
with released as (
  update reservation set state = 'released' where order_id = $1 and state = 'reserved' returning sku, quantity
)
update stock s set reserved = reserved - r.quantity from released r where s.sku = r.sku`,
  'inventory-reserve': `-- $1 order, $2 skus, $3 quantities. The caller holds the rows and has seen that there is enough.
with line as (
  select sku, quantity from unnest($2::text[], $3::integer[]) as l (sku, quantity)
),
promised as (
  update stock s set reserved = s.reserved + l.quantity from line l where s.sku = l.sku
)
insert into reservation (order_id, sku, quantity) select $1, sku, quantity from line`,
  'inventory-schema': `create table stock (
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
);`,
  'inventory-ship': `-- $1 order: what was reserved for it leaves.
with shipped as (
  update reservation set state = 'shipped' where order_id = $1 and state = 'reserved' returning sku, quantity
),
taken as (
  update stock s set on_hand = on_hand - r.quantity, reserved = reserved - r.quantity
  from shipped r where s.sku = r.sku
)
insert into shipment (order_id, sku, quantity) select $1, sku, quantity from shipped`,
  'notification-insert': `insert into notification (order_id, message_id, recipient, text) values ($1, $2, $3, $4)`,
  'notification-list': `select order_id as "order", recipient, text, sent_at as "sentAt"
from notification
where $1::text is null or order_id = $1
order by id desc
limit $2`,
  'notification-schema': `-- What was sent to customers. No key forbids two for one order: the inbox does, and the audit counts.
create table notification (
  id bigint generated always as identity primary key,
  order_id text not null,
  message_id text not null,
  recipient text not null,
  text text not null,
  sent_at timestamptz not null default clock_timestamp()
);`,
  'order-end': `update customer_order set state = $2, reason = $3, ended_at = clock_timestamp()
where id = $1 and state = 'pending'`,
  'order-find': `-- $1 id, $2 idempotency key; one of them is null.
select id, state, reason, account, email, lines, total, created_at as "createdAt", request_hash as "requestHash"
from customer_order
where id = $1 or idempotency_key = $2`,
  'order-insert': `insert into customer_order (id, idempotency_key, request_hash, account, email, lines, total)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (idempotency_key) do nothing`,
  'order-list': `select id, state, reason, account, email, lines, total, created_at as "createdAt", request_hash as "requestHash"
from customer_order
where $1::text is null or state = $1
order by created_at desc, id
limit $2`,
  'order-schema': `create table customer_order (
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
create index customer_order_recent on customer_order (created_at desc, id);`,
  'payment-capture': `-- $1 order: the money that was frozen for it leaves the account.
with paid as (
  update payment set state = 'captured' where order_id = $1 and state = 'frozen' returning account_id, amount
),
taken as (
  update account a set frozen = frozen - p.amount from paid p where a.id = p.account_id
)
insert into capture (order_id, account_id, amount) select $1, account_id, amount from paid`,
  'payment-deposit': `-- $1 reference, $2 account, $3 amount, $4 bank of an account that is new. No row comes back when the reference was
-- booked before.
with opened as (
  insert into account (id, bank) values ($2, $4) on conflict (id) do nothing
),
booked as (
  insert into deposit (reference, account_id, amount) values ($1, $2, $3)
  on conflict (reference) do nothing
  returning account_id, amount
)
select account_id from booked`,
  'payment-freeze': `-- $1 order, $2 account, $3 amount. No row changes when the account has not enough.
with taken as (
  update account set available = available - $3, frozen = frozen + $3
  where id = $2 and available >= $3
  returning id
)
insert into payment (order_id, account_id, amount) select $1, id, $3 from taken`,
  'payment-release': `-- $1 order: the money that was frozen for it, if any, is the owner's again.
with released as (
  update payment set state = 'released' where order_id = $1 and state = 'frozen' returning account_id, amount
)
update account a set available = available + r.amount, frozen = frozen - r.amount
from released r where a.id = r.account_id`,
  'payment-schema': `-- All amounts are in cents.
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
);`,
} as const;
