-- $1 identifiers. The messages are gone, and their keys go on without them.
with discarded as (
  delete from outbox_dead where id = any ($1::text[]) returning partition, topic, key
),
unblocked as (
  delete from outbox_key_block as b using discarded as d
  where b.partition = d.partition and b.topic = d.topic and b.key = d.key
)
select count(*)::integer as discarded from discarded
