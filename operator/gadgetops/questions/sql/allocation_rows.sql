-- The chosen allocations, one row each, with what is left of it and its stack as text, root first.
select
    allocations.seq,
    allocations.timestamp_ns,
    allocations.pid,
    allocations.tid,
    allocations.operation,
    allocations.address,
    allocations.size_bytes,
    case
        when coalesce(allocations.released_operation, 'exit') = 'exit'
            then allocations.size_bytes - coalesce(parts.parts_bytes, 0)
        else 0
    end as live_bytes,
    coalesce(allocations.released_operation, 'exit') = 'exit' as is_live,
    allocations.released_seq,
    allocations.released_ns,
    allocations.released_tid,
    allocations.released_operation,
    allocations.stack_id,
    stack_names.fingerprint,
    stack_names.stack
from allocations
inner join stack_groups on stack_groups.stack_id = allocations.stack_id
inner join thread_groups on thread_groups.pid = allocations.pid and thread_groups.tid = allocations.tid
inner join stack_names on stack_names.group_id = stack_groups.group_id
left join (
    select allocation_seq, cast(sum(released_bytes) as bigint) as parts_bytes
    from partial_releases
    group by allocation_seq
) as parts on parts.allocation_seq = allocations.seq
cross join bounds
where stack_groups.is_chosen
    and thread_groups.is_chosen
    and allocations.timestamp_ns >= bounds.since_ns
    and allocations.timestamp_ns < bounds.until_ns
    and allocations.size_bytes >= bounds.min_bytes
    and allocations.size_bytes <= bounds.max_bytes
