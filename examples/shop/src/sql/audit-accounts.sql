-- Payment: what came in on each account, what went out, and what is there.
select a.id, a.available, a.frozen,
  (select coalesce(sum(amount), 0) from deposit d where d.account_id = a.id) as deposited,
  (select coalesce(sum(amount), 0) from capture c where c.account_id = a.id) as captured
from account a
order by a.id
