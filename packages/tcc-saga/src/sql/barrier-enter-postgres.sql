-- One statement, insert only; a cancel's rows go in after one another. A conflicting call that is still under way is
-- waited for; under REPEATABLE READ and above a conflict with a row that the snapshot does not show fails with 40001.
insert into tx_barrier (gid, branch, op, seq, reason)
select $1, $2, o.op, $4::integer, $5::text
from unnest($3::text[]) with ordinality as o (op, position)
order by o.position
on conflict do nothing
