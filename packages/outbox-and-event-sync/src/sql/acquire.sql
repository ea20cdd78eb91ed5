-- $1 owner, $2 lease in milliseconds, $3 how many, $4 partitions held already. The lowest free ones that nobody else
-- is taking at the moment.
update outbox_partition as p
set owner = $1, fence = p.fence + 1, lease_until = clock_timestamp() + $2::float8 * interval '1 millisecond'
from (
  select partition from outbox_partition
  where (owner is null or owner = $1 or lease_until <= clock_timestamp()) and partition <> all ($4::integer[])
  order by partition
  limit $3
  for update skip locked
) as free
where p.partition = free.partition
returning p.partition, p.fence::text as fence
