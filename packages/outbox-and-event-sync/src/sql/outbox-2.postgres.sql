-- What a relay may publish next: the rows of the partitions wanted, in the order of their turn, without the keys that
-- are in flight or blocked. There is no cursor: a row with a low number may be committed after one with a high number
-- was published.
--
-- The settings bind the planner to the primary key, from which it stops reading when it has enough. Left alone it
-- prefers, while the backlog is short, to read all of a partition and to sort it; such scans do not mark the index
-- entries of deleted rows either, so that each look at an empty outbox would visit all that was published since the
-- last vacuum. A plan per call knows how many keys are in flight, and hashes them.
create function outbox_fetch(wanted integer[], in_flight integer[], most integer)
returns setof outbox_message
language plpgsql stable
set enable_bitmapscan = off
set enable_seqscan = off
set enable_sort = off
set plan_cache_mode = force_custom_plan
as $$
begin
  return query
  select m.*
  from unnest(wanted) as p (partition)
  cross join lateral (
    select *
    from outbox_message as m
    where m.partition = p.partition
      and m.key_hash <> all (in_flight)
      and not exists (
        select from outbox_key_block as b
        where b.partition = m.partition and b.topic = m.topic and b.key = m.key and b.until > statement_timestamp()
      )
    order by m.seq
    limit most
  ) as m
  limit most;
end
$$
