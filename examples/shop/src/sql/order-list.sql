select id, state, reason, account, email, lines, total, created_at as "createdAt", request_hash as "requestHash"
from customer_order
where $1::text is null or state = $1
order by created_at desc, id
limit $2
