-- $1 lock slots, sorted; $2.. one array per column. The sort makes the statement take every lock before it draws
-- the first number of the sequence, so that numbers of one key rise in the order in which transactions commit.
insert into outbox_message (partition, key_hash, id, topic, key, payload, headers)
select (m.key_hash::bigint & 4294967295) % s.partitions, m.key_hash, m.id, m.topic, m.key, m.payload, m.headers
from (
  select count(pg_advisory_xact_lock({lock_class}, slot)) as held from unnest($1::integer[]) as slot
) as locks
cross join outbox_settings as s
cross join unnest($2::integer[], $3::text[], $4::text[], $5::text[], $6::json[], $7::json[])
  with ordinality as m (key_hash, id, topic, key, payload, headers, position)
where locks.held >= 0
order by m.position
