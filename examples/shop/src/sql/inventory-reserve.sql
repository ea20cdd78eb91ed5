-- $1 order, $2 skus, $3 quantities. The caller holds the rows and has seen that there is enough.
with line as (
  select sku, quantity from unnest($2::text[], $3::integer[]) as l (sku, quantity)
),
promised as (
  update stock s set reserved = s.reserved + l.quantity from line l where s.sku = l.sku
)
insert into reservation (order_id, sku, quantity) select $1, sku, quantity from line
