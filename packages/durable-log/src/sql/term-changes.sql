select entry_index, term from (
  select entry_index, term, lag(term) over (order by entry_index) as term_before
  from quorate_log_entry where log_name = ?
) as entries
where term_before is null or term_before <> term
order by entry_index
