-- Inventory: what came in of each item, what went out, and what is there.
select s.sku, s.on_hand as "onHand", s.reserved,
  (select coalesce(sum(quantity), 0) from goods_receipt r where r.sku = s.sku) as received,
  (select coalesce(sum(quantity), 0) from shipment p where p.sku = s.sku) as shipped
from stock s
order by s.sku
