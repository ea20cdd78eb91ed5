-- $1 owner, $2 partitions, $3 fences, $4 numbers. A relay whose fence was passed deletes nothing.
delete from outbox_message as m
using unnest($2::integer[], $3::bigint[], $4::bigint[]) as done (partition, fence, seq)
join outbox_partition as p on p.partition = done.partition and p.fence = done.fence and p.owner = $1
where m.partition = done.partition and m.seq = done.seq
