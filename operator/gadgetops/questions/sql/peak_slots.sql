-- How the live memory of the chosen allocations changes in slots of time, each $width_ns long, of those that begin at
-- $start_ns and before $end_ns: how many changes, what they come to, and what the allocations among them do.
select
    timestamp_ns - (timestamp_ns - $start_ns) % $width_ns as slot_ns,
    count(*) as n_changes,
    cast(sum(change_bytes) as decimal(38, 0)) as change_bytes,
    cast(sum(case when change_bytes > 0 then change_bytes else 0 end) as decimal(38, 0)) as allocated_bytes
from changes
where timestamp_ns >= $start_ns and timestamp_ns < $end_ns
group by timestamp_ns - (timestamp_ns - $start_ns) % $width_ns
order by slot_ns
