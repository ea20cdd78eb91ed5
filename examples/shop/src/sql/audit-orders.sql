-- Order: every order beside the TCC transaction that decided it.
select o.id, o.state, o.reason, o.total, o.lines, o.idempotency_key as "idempotencyKey", s.id as "sagaId",
  s.status as saga
from customer_order o
full join saga_instance s on s.id = o.id
order by o.id
