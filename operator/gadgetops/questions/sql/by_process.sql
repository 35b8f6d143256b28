-- What the chosen allocations of each group come to, process by process.
select
    group_id,
    pid,
    cast(sum(size_bytes) as decimal(38, 0)) as allocated_bytes,
    count(*) as allocated_count,
    cast(sum(case when is_left then size_bytes - parts_bytes else 0 end) as decimal(38, 0)) as live_bytes,
    cast(sum(case when is_left then 1 else 0 end) as bigint) as live_count
from chosen
group by group_id, pid
