-- Inventory: how often and how much of each item left for each order.
select order_id as "order", sku, count(*) as times, sum(quantity) as quantity
from shipment
group by order_id, sku
order by order_id, sku
