-- What all allocations of each group come to, from what pairing keeps of each stack.
select
    stack_groups.group_id,
    cast(sum(stored_sums.allocated_bytes) as decimal(38, 0)) as allocated_bytes,
    cast(sum(stored_sums.allocated_count) as bigint) as allocated_count,
    cast(sum(stored_sums.live_bytes) as decimal(38, 0)) as live_bytes,
    cast(sum(stored_sums.live_count) as bigint) as live_count
from stored_sums
inner join stack_groups on stack_groups.stack_id = stored_sums.stack_id
group by stack_groups.group_id
