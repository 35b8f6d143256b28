-- What of the chosen allocations was live, by group, after event $seq at $timestamp_ns.
select
    group_id,
    cast(sum(change_bytes) as decimal(38, 0)) as live_bytes,
    cast(sum(change_count) as bigint) as live_count
from changes
where timestamp_ns < $timestamp_ns or (timestamp_ns = $timestamp_ns and seq <= $seq)
group by group_id
having sum(change_count) > 0
