-- The limit is written in: MySQL refuses one that is bound as mysql2 bound numbers before 3.24.
delete from inbox_seen
where consumer = ? and seen_at < current_timestamp(3) - interval ? * 1000 microsecond
order by seen_at
limit {limit}
