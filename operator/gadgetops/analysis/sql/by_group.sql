-- What the chosen allocations of each group come to.
select
    group_id,
    cast(sum(size_bytes) as bigint) as allocated_bytes,
    count(*) as allocated_count,
    cast(sum(case when released_ns is null then size_bytes - released_bytes else 0 end) as bigint) as live_bytes,
    cast(sum(case when released_ns is null then 1 else 0 end) as bigint) as live_count
from chosen
group by group_id
