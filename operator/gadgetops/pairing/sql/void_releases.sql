-- Releases that released nothing, by seq: realloc() said at its entry that it gives the old block back, and failed.
select seq
from (
    select
        seq,
        operation,
        lead(operation) over (partition by pid, tid order by seq) as next_operation,
        lead(address) over (partition by pid, tid order by seq) as next_address,
        lead(size_bytes) over (partition by pid, tid order by seq) as next_size_bytes
    from calls
    where operation in ('realloc', 'realloc_free')
        and (pid, tid) in (
            select pid, tid from calls where operation = 'realloc' and address = 0
        )
) as reallocations
where operation = 'realloc_free' and next_operation = 'realloc' and next_address = 0 and next_size_bytes > 0
