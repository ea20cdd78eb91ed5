-- $1 order: what was reserved for it leaves.
with shipped as (
  update reservation set state = 'shipped' where order_id = $1 and state = 'reserved' returning sku, quantity
),
taken as (
  update stock s set on_hand = on_hand - r.quantity, reserved = reserved - r.quantity
  from shipped r where s.sku = r.sku
)
insert into shipment (order_id, sku, quantity) select $1, sku, quantity from shipped
