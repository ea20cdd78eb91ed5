update customer_order set state = $2, reason = $3, ended_at = clock_timestamp()
where id = $1 and state = 'pending'
