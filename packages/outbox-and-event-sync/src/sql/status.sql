select json_build_object(
  'pending', (select count(*) from outbox_message),
  'oldestMs', (
    select coalesce(extract(epoch from clock_timestamp() - min(created_at)) * 1000, 0) from outbox_message
  ),
  'blockedKeys', (select count(*) from outbox_key_block where until > clock_timestamp()),
  'dead', (select count(*) from outbox_dead),
  'partitions', (select partitions from outbox_settings),
  'leasedPartitions', (select count(*) from outbox_partition where lease_until > clock_timestamp()),
  'relays', (
    select coalesce(json_agg(owner order by owner), '[]') from outbox_relay where lease_until > clock_timestamp()
  )
)::text as status
