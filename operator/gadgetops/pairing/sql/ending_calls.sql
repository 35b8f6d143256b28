-- The calls of one process in some bins, one by one.
select
    seq,
    case when operation in ('free', 'realloc_free', 'munmap') then 0 else 1 end as allocation_count,
    case when operation in ('free', 'realloc_free', 'munmap') then 1 else 0 end as release_count
from events
where address <> 0 and pid = $pid and seq >= $first_seq and seq < $end_seq
order by seq
