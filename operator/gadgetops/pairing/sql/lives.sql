-- The lives of each process: what it is between two of its beginnings, each with memory of its own. `exec` ends one
-- and begins another, `fork` begins one, `exit` ends it. life_ns is when it began; the first has no known beginning.
-- The life after an exit is empty, unless the number is given to another process.
select pid, life_ns, end_ns, end_operation
from (
    select
        pid,
        timestamp_ns as life_ns,
        lead(timestamp_ns) over (partition by pid order by timestamp_ns, event) as end_ns,
        case lead(event) over (partition by pid order by timestamp_ns, event)
            when 'exec' then 'exec'
            when 'exit' then 'exit'
            -- Its number was given away: its exit was not seen.
            when 'fork' then 'exit'
        end as end_operation
    from (
        select pid, timestamp_ns, event from processes where event in ('fork', 'exec', 'exit')
        union all
        select pid, cast(-9223372036854775807 as bigint) as timestamp_ns, 'before' as event
        from processes
        group by pid
    ) as boundaries
) as lives
where end_ns is null or end_ns > life_ns
