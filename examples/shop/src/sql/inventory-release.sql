-- $1 order: what was reserved for it, if anything, can be promised to others.
with released as (
  update reservation set state = 'released' where order_id = $1 and state = 'reserved' returning sku, quantity
)
update stock s set reserved = reserved - r.quantity from released r where s.sku = r.sku
