-- $1 order: the money that was frozen for it, if any, is the owner's again.
with released as (
  update payment set state = 'released' where order_id = $1 and state = 'frozen' returning account_id, amount
)
update account a set available = available + r.amount, frozen = frozen - r.amount
from released r where a.id = r.account_id
