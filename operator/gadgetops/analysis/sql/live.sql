-- Allocations that are live after the last event: pid, address, stack_id, and live_bytes of each.
-- Blocks: the last event at an address is an allocation. An address that is handed out again was given back
-- in between, seen or not. No event needs to be sorted for that.
select pid, address, stack_id, size_bytes as live_bytes
from events
where seq in (
    select max(seq)
    from events
    where address <> 0
        and operation in (
            'malloc', 'calloc', 'realloc', 'posix_memalign', 'aligned_alloc', 'valloc', 'memalign', 'pvalloc',
            'free', 'realloc_free'
        )
        and seq not in (select seq from ignored)
    group by pid, address
)
    and operation not in ('free', 'realloc_free')

union all

-- Mappings: the munmap that follows at the same address gives back as many whole pages as it says.
select pid, address, stack_id, size_bytes - released_bytes as live_bytes
from (
    select
        pid,
        address,
        stack_id,
        size_bytes,
        operation,
        case
            when next_operation is null then cast(0 as bigint)
            when next_operation = 'mmap' then size_bytes
            -- Compared as a difference, since the sum might not fit.
            when size_bytes - next_size_bytes <= (4096 - next_size_bytes % 4096) % 4096 then size_bytes
            else next_size_bytes + (4096 - next_size_bytes % 4096) % 4096
        end as released_bytes
    from (
        select
            pid,
            address,
            stack_id,
            size_bytes,
            operation,
            lead(operation) over (partition by pid, address order by seq) as next_operation,
            lead(size_bytes) over (partition by pid, address order by seq) as next_size_bytes
        from events
        where address <> 0
            and operation in ('mmap', 'munmap')
            and seq not in (select seq from ignored)
    ) as calls
) as mappings
where operation = 'mmap' and released_bytes < size_bytes
