-- Every allocation, with the group it belongs to and whether the filters chose it.
-- `stack_groups` and `thread_groups` say both for stacks and threads: one of the two has the group, the other 0.
select
    allocations.seq,
    allocations.timestamp_ns,
    allocations.pid,
    allocations.tid,
    allocations.operation,
    allocations.size_bytes,
    allocations.released_seq,
    allocations.released_ns,
    allocations.released_tid,
    allocations.released_operation,
    coalesce(allocations.released_bytes, 0) as released_bytes,
    stack_groups.group_id + thread_groups.group_id as group_id,
    stack_groups.is_chosen
        and thread_groups.is_chosen
        and allocations.timestamp_ns >= bounds.since_ns
        and allocations.timestamp_ns < bounds.until_ns
        and allocations.size_bytes >= bounds.min_bytes
        and allocations.size_bytes <= bounds.max_bytes as is_chosen
from allocations
inner join stack_groups on stack_groups.stack_id = allocations.stack_id
inner join thread_groups on thread_groups.pid = allocations.pid and thread_groups.tid = allocations.tid
cross join bounds
