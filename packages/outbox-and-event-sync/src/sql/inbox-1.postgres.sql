create table inbox_seen (
  consumer text not null,
  message_id text not null,
  result json,
  seen_at timestamptz not null default clock_timestamp(),
  primary key (consumer, message_id)
);
create index inbox_seen_age on inbox_seen (consumer, seen_at);
