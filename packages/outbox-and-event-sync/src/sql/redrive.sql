-- $1 identifiers. The messages return to the places that they had, and their keys go on.
with revived as (
  delete from outbox_dead where id = any ($1::text[]) returning *
),
unblocked as (
  delete from outbox_key_block as b using revived as r
  where b.partition = r.partition and b.topic = r.topic and b.key = r.key
)
insert into outbox_message (partition, seq, key_hash, id, topic, key, payload, headers, last_error, created_at)
overriding system value
select partition, seq, key_hash, id, topic, key, payload, headers, reason, created_at from revived
