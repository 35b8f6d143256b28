-- The first moment with most bytes live of those from $start_ns on and before $end_ns, and how many more are live then
-- than before.
select timestamp_ns, seq, cast(added_bytes as decimal(38, 0)) as added_bytes
from (
    select
        timestamp_ns,
        seq,
        -- An allocation at an address whose release was lost comes with that release: the release is first.
        sum(change_bytes) over (
            order by timestamp_ns, seq, change_bytes
            rows between unbounded preceding and current row
        ) as added_bytes
    from changes
    where timestamp_ns >= $start_ns and timestamp_ns < $end_ns
) as moments
order by added_bytes desc, timestamp_ns, seq
limit 1
