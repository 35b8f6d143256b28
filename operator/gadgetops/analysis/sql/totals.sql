-- One row over all events: what was allocated, and how much of the recording is doubtful.
select
    coalesce(sum(case when is_allocation then size_bytes else 0 end), 0) as allocated_bytes,
    coalesce(sum(case when is_allocation then 1 else 0 end), 0) as allocated_count,
    coalesce(max(lost), 0) as lost,
    coalesce(sum(case when is_allocation and stack_id = -2 then 1 else 0 end), 0) as failed_stacks
from (
    select
        size_bytes,
        stack_id,
        lost,
        address <> 0 and operation in (
            'malloc', 'calloc', 'realloc', 'mmap', 'posix_memalign', 'aligned_alloc', 'valloc', 'memalign',
            'pvalloc'
        ) as is_allocation
    from events
) as calls
