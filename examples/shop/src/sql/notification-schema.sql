-- What was sent to customers. No key forbids two for one order: the inbox does, and the audit counts.
create table notification (
  id bigint generated always as identity primary key,
  order_id text not null,
  message_id text not null,
  recipient text not null,
  text text not null,
  sent_at timestamptz not null default clock_timestamp()
);
