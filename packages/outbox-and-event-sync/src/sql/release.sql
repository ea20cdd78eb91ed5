-- $1 owner, $2 partitions, $3 their fences.
update outbox_partition as p
set owner = null, lease_until = '-infinity'
from unnest($2::integer[], $3::bigint[]) as held (partition, fence)
where p.partition = held.partition and p.fence = held.fence and p.owner = $1
