-- $1 owner, $2 lease in milliseconds, $3 partitions held, $4 their fences.
with alive as (
  insert into outbox_relay (owner, lease_until)
  values ($1, clock_timestamp() + $2::float8 * interval '1 millisecond')
  on conflict (owner) do update set lease_until = excluded.lease_until
),
forgotten as (
  delete from outbox_relay where owner in (
    select owner from outbox_relay
    where lease_until < clock_timestamp() - interval '1 hour' for update skip locked
  )
),
mine as (
  -- In order, as every statement locks several partitions, so that none waits for the other.
  select p.partition
  from unnest($3::integer[], $4::bigint[]) as held (partition, fence)
  join outbox_partition as p on p.partition = held.partition and p.fence = held.fence and p.owner = $1
  order by p.partition
  for no key update of p
),
renewed as (
  update outbox_partition as p
  set lease_until = clock_timestamp() + $2::float8 * interval '1 millisecond'
  from mine
  where p.partition = mine.partition
  returning p.partition
),
unblocked as (
  delete from outbox_key_block where partition = any ($3::integer[]) and until <= clock_timestamp()
)
select json_build_object(
  'held', (select coalesce(json_agg(partition), '[]') from renewed),
  'free', (
    select count(*) from outbox_partition where owner is null or owner = $1 or lease_until <= clock_timestamp()
  ) - (select count(*) from renewed),
  'partitions', (select count(*) from outbox_partition),
  'relays', (
    select coalesce(json_agg(owner), '[]') from outbox_relay where owner <> $1 and lease_until > clock_timestamp()
  )
)::text as view
