-- The calls that give or take a block, but for those that did nothing.
select seq, timestamp_ns, pid, tid, operation, address, size_bytes, stack_id, lost, life_ns
from calls
where address <> 0
    and operation in (
        'malloc', 'calloc', 'realloc', 'posix_memalign', 'aligned_alloc', 'valloc', 'memalign', 'pvalloc',
        'free', 'realloc_free'
    )
    and seq not in (select seq from void_releases)
