-- What the events come to: one row.
select
    count(*) as n_events,
    min(timestamp_ns) as first_ns,
    max(timestamp_ns) as last_ns,
    min(seq) as first_seq,
    max(seq) as last_seq,
    max(lost) as lost,
    sum(case when stack_id = -2 then 1 else 0 end) as failed_stacks
from events
