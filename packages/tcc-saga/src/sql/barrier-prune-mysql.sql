-- The limit is written in: MySQL refuses one that is bound as mysql2 bound numbers before 3.24.
delete from tx_barrier
where created_at < current_timestamp(3) - interval ? * 1000 microsecond
order by created_at
limit {limit}
