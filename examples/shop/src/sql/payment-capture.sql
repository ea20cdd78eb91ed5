-- $1 order: the money that was frozen for it leaves the account.
with paid as (
  update payment set state = 'captured' where order_id = $1 and state = 'frozen' returning account_id, amount
),
taken as (
  update account a set frozen = frozen - p.amount from paid p where a.id = p.account_id
)
insert into capture (order_id, account_id, amount) select $1, account_id, amount from paid
