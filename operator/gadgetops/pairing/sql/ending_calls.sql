-- The calls of one process in some bins, one by one.
select
    events.seq,
    case when operations.is_release then 0 else 1 end as allocation_count,
    case when operations.is_release then 1 else 0 end as release_count
from events
inner join operations on operations.operation = events.operation
where events.address <> 0 and events.pid = $pid and events.seq >= $first_seq and events.seq < $end_seq
order by events.seq
