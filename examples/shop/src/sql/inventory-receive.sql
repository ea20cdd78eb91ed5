-- $1 reference, $2 sku, $3 quantity. No row comes back when the reference was booked before.
with item as (
  insert into stock (sku) values ($2) on conflict (sku) do update set sku = excluded.sku returning sku
),
receipt as (
  insert into goods_receipt (reference, sku, quantity) select $1, sku, $3 from item
  on conflict (reference) do nothing
  returning reference
)
select reference from receipt
