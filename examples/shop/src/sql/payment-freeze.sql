-- $1 order, $2 account, $3 amount. No row changes when the account has not enough.
with taken as (
  update account set available = available - $3, frozen = frozen + $3
  where id = $2 and available >= $3
  returning id
)
insert into payment (order_id, account_id, amount) select $1, id, $3 from taken
