-- $1 reference, $2 account, $3 amount, $4 bank of an account that is new. No row comes back when the reference was
-- booked before.
with opened as (
  insert into account (id, bank) values ($2, $4) on conflict (id) do nothing
),
booked as (
  insert into deposit (reference, account_id, amount) values ($1, $2, $3)
  on conflict (reference) do nothing
  returning account_id, amount
)
select account_id from booked
