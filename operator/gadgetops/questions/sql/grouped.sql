-- Every allocation, with the group it belongs to, whether the filters chose it, what was released of it in parts, and
-- whether it is left: live at the end, or gone with the exit of its process, but never released by the program.
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
    coalesce(parts.parts_bytes, 0) as parts_bytes,
    coalesce(allocations.released_operation, 'exit') = 'exit' as is_left,
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
left join (
    select allocation_seq, cast(sum(released_bytes) as bigint) as parts_bytes
    from partial_releases
    group by allocation_seq
) as parts on parts.allocation_seq = allocations.seq
cross join bounds
