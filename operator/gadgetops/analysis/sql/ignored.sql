-- Releases that released nothing, by seq.
-- 1. realloc() said at its entry that it gives the old block back, and then failed: the block is still there.
-- 2. An allocator that gives a whole mapping back does so inside free(); the free itself is counted already.
select seq
from (
    select
        seq,
        operation,
        lead(operation) over (partition by pid, tid order by seq) as next_operation,
        lead(address) over (partition by pid, tid order by seq) as next_address,
        lead(size_bytes) over (partition by pid, tid order by seq) as next_size_bytes
    from events
    where operation in ('realloc', 'realloc_free')
        and (pid, tid) in (
            select pid, tid from events where operation = 'realloc' and address = 0
        )
) as reallocations
where operation = 'realloc_free' and next_operation = 'realloc' and next_address = 0 and next_size_bytes > 0

union all

select seq
from (
    select
        seq,
        operation,
        address,
        size_bytes,
        lag(operation) over (partition by pid, tid order by seq) as previous_operation,
        lag(address) over (partition by pid, tid order by seq) as previous_address
    from events
    where (pid, tid) in (select pid, tid from events where operation = 'munmap')
) as calls
where operation = 'munmap'
    and previous_operation in ('free', 'realloc_free')
    and case
        when address > 0 and previous_address >= address then previous_address - address < size_bytes
        else false
    end
