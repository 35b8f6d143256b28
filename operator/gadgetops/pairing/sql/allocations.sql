-- Every successful allocation, with what ended it.
select
    seq,
    timestamp_ns,
    pid,
    tid,
    operation,
    address,
    size_bytes,
    stack_id,
    released_seq,
    released_ns,
    released_tid,
    released_operation,
    released_bytes
from (
    select * from stored_closed
    union all
    select * from stored_open
) as pairs
where not is_release
