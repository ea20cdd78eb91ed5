-- Payment: money that is still set aside.
select order_id as "order", account_id as holder, amount from payment where state = 'frozen' order by order_id
