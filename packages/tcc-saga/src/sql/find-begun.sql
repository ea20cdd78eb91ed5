select id, definition
from saga_instance
where id = $1 or (definition = $2 and dedupe_key = $3)
order by id = $1 desc
limit 1
