-- A locking read sees what is committed now; the snapshot of REPEATABLE READ may be older than the row.
select convert(reason using utf8mb4) as reason, result
from tx_barrier
where gid = ? and branch = ? and op = ? and seq = ?
lock in share mode
