-- $1 skus. Locks their rows, always in the same sequence, and says how much nobody was promised.
select sku, on_hand - reserved as free from stock where sku = any ($1::text[]) order by sku for update
