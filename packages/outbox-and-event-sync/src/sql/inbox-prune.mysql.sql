delete from inbox_seen
where consumer = ? and seen_at < current_timestamp(3) - interval ? * 1000 microsecond
order by seen_at
limit ?
