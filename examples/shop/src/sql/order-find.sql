-- $1 id, $2 idempotency key; one of them is null.
select id, state, reason, account, email, lines, total, created_at as "createdAt", request_hash as "requestHash"
from customer_order
where id = $1 or idempotency_key = $2
