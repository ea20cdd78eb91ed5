-- Inventory: goods that are still promised.
select order_id as "order", sku as holder, quantity as amount from reservation where state = 'reserved' order by order_id
