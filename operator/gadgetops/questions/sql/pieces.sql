-- The chosen allocations, a row for each part that was released at once, with its address: of all but mappings that is
-- the allocation.
select
    allocations.seq as began_seq,
    allocations.timestamp_ns as began_ns,
    stack_groups.group_id,
    allocations.pid,
    allocations.tid,
    allocations.address + parts.number as address,
    parts.size_bytes,
    parts.number,
    parts.ended_seq,
    parts.ended_ns,
    parts.ended_tid
from allocations
inner join (
    select
        allocations.seq,
        allocations.size_bytes - coalesce(sums.released_bytes, 0) as size_bytes,
        cast(0 as bigint) as number,
        case when allocations.released_operation <> 'exit' then allocations.released_seq end as ended_seq,
        case when allocations.released_operation <> 'exit' then allocations.released_ns end as ended_ns,
        coalesce(allocations.released_tid, allocations.tid) as ended_tid
    from allocations
    left join (
        select allocation_seq, cast(sum(released_bytes) as bigint) as released_bytes
        from partial_releases
        group by allocation_seq
    ) as sums on sums.allocation_seq = allocations.seq

    union all

    select
        allocation_seq as seq,
        released_bytes as size_bytes,
        row_number() over (partition by allocation_seq order by seq) as number,
        seq as ended_seq,
        timestamp_ns as ended_ns,
        tid as ended_tid
    from partial_releases
) as parts on parts.seq = allocations.seq
inner join stack_groups on stack_groups.stack_id = allocations.stack_id
inner join thread_groups on thread_groups.pid = allocations.pid and thread_groups.tid = allocations.tid
cross join bounds
where stack_groups.is_chosen
    and thread_groups.is_chosen
    and allocations.timestamp_ns >= bounds.since_ns
    and allocations.timestamp_ns < bounds.until_ns
    and allocations.size_bytes >= bounds.min_bytes
    and allocations.size_bytes <= bounds.max_bytes
