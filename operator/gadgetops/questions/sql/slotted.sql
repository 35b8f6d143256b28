-- The chosen allocations, each with whether it was temporary, by the rule of `temporary`.
select
    group_id,
    seq,
    timestamp_ns,
    size_bytes,
    parts_bytes,
    released_seq,
    released_ns,
    released_operation,
    is_left,
    released_seq is not null
        and released_operation <> 'lost'
        and released_tid = tid
        and released_seq <= coalesce(last_other_seq, cast(9223372036854775807 as bigint)) as is_temporary
from (
    select *, lead(seq, $others + 1) over (partition by pid, tid order by seq) as last_other_seq
    from grouped
) as calls
where is_chosen
