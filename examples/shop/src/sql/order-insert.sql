insert into customer_order (id, idempotency_key, request_hash, account, email, lines, total)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (idempotency_key) do nothing
