select order_id as "order", recipient, text, sent_at as "sentAt"
from notification
where $1::text is null or order_id = $1
order by id desc
limit $2
