delete from tx_barrier
where created_at < current_timestamp(3) - interval ? * 1000 microsecond
order by created_at
limit ?
