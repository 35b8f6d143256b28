-- The calls that went wrong: releases of what is not allocated, or not in that way, and allocations that failed.
-- A release's size is not known. An allocation of 0 bytes may rightly give no address.
select
    unmatched_releases.seq,
    unmatched_releases.timestamp_ns,
    unmatched_releases.pid,
    unmatched_releases.tid,
    unmatched_releases.stack_id,
    unmatched_releases.operation,
    cast(null as bigint) as size_bytes,
    case
        when mismatched.seq is not null then 'mismatched'
        when unmatched_releases.reason = 'double' then 'double'
        else 'unknown'
    end as fault
from unmatched_releases
left join (
    select distinct releases.seq
    from unmatched_releases as releases
    inner join allocations on allocations.pid = releases.pid and allocations.address = releases.address
    where allocations.seq < releases.seq
        and (allocations.released_ns is null or allocations.released_ns > releases.timestamp_ns)
        and (allocations.operation = 'mmap') <> (releases.operation = 'munmap')
) as mismatched on mismatched.seq = unmatched_releases.seq
where unmatched_releases.reason in ('unknown', 'double')

union all

select seq, timestamp_ns, pid, tid, stack_id, operation, size_bytes, 'failed' as fault
from events
where address = 0
    and size_bytes > 0
    and operation in (select operation from operations where not is_release)
