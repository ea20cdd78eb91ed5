-- Payment: how often and how much was taken for each order.
select order_id as "order", count(*) as times, sum(amount) as amount from capture group by order_id order by order_id
