select
  case
    when current_setting('quorate.lock_session', true) = $3 then case kind
      when 'lock' then case
        when pg_try_advisory_lock(id) then nextval('quorate_lock_fence')
        else 0
      end
      when 'lock-shared' then case
        when pg_try_advisory_lock_shared(id) then nextval('quorate_lock_fence')
        else 0
      end
      when 'unlock' then pg_advisory_unlock(id)::int
      when 'unlock-shared' then pg_advisory_unlock_shared(id)::int
      else 1
    end
  end as result
from
  unnest($1::text[], $2::bigint[]) as t (kind, id)
