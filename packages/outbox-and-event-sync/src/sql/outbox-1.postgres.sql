-- {partitions} is replaced by the number of partitions.
create table outbox_settings (
  singleton boolean primary key default true check (singleton),
  -- Fixed for ever: a key's partition is its hash modulo this number.
  partitions integer not null check (partitions between 1 and 1024)
);
insert into outbox_settings (partitions) values ({partitions});

-- Messages that are committed and not yet published. `seq` rises within a key in the order of the commits.
create table outbox_message (
  partition integer not null,
  seq bigint generated always as identity,
  -- The first four bytes of SHA-256 of the key.
  key_hash integer not null,
  id text not null,
  topic text not null,
  key text not null,
  -- json, not jsonb: a message is delivered as it was published, and never queried by content.
  payload json not null,
  headers json not null,
  attempts integer not null default 0,
  last_error text,
  created_at timestamptz not null default clock_timestamp(),
  primary key (partition, seq)
) with (
  -- Rows live for milliseconds, so the table is vacuumed by the number of dead rows, not by its size.
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 20000
);

-- Who publishes which partition. `fence` rises with every change of hands.
create table outbox_partition (
  partition integer primary key,
  owner text,
  fence bigint not null default 0,
  lease_until timestamptz not null default '-infinity'
);
insert into outbox_partition (partition) select generate_series(0, {partitions} - 1);

-- Relays that are alive, so that they can share the partitions.
create table outbox_relay (
  owner text primary key,
  lease_until timestamptz not null
);

-- Keys whose messages wait: after a failure until its backoff is over, after a dead letter for ever.
create table outbox_key_block (
  partition integer not null,
  topic text not null,
  key text not null,
  until timestamptz not null,
  reason text not null,
  primary key (partition, topic, key)
);

-- Messages that were given up, with the reason.
create table outbox_dead (
  partition integer not null,
  seq bigint not null,
  key_hash integer not null,
  id text not null,
  topic text not null,
  key text not null,
  payload json not null,
  headers json not null,
  attempts integer not null,
  reason text not null,
  created_at timestamptz not null,
  died_at timestamptz not null default clock_timestamp(),
  primary key (partition, seq)
);
create index outbox_dead_id on outbox_dead (id);
