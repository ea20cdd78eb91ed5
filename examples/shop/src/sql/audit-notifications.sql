-- Notification: how often the customer was told of each order.
select order_id as "order", count(*) as times from notification group by order_id order by order_id
