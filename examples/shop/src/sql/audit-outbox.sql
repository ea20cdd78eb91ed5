-- Order: events that nobody has received, and those that were given up.
select id, key as "order", 'waiting' as state, last_error as reason from outbox_message
union all
select id, key, 'dead', reason from outbox_dead
order by id
