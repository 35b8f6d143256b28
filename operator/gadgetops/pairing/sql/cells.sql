-- How many events there are in each cell, and when the first of them was; with what the steps before saw. What ends a
-- process is none of its work.
select
    slot_ns,
    slot_seq,
    cast(sum(event_count) as bigint) as event_count,
    min(first_ns) as first_ns
from (
    select
        cells_before.slot_ns - cells_before.slot_ns % slots.width_ns as slot_ns,
        cells_before.slot_seq - cells_before.slot_seq % slots.width_seq as slot_seq,
        cells_before.event_count,
        cells_before.first_ns
    from cells_before
    cross join slots

    union all

    select
        events.timestamp_ns - events.timestamp_ns % slots.width_ns as slot_ns,
        events.seq - events.seq % slots.width_seq as slot_seq,
        count(*) as event_count,
        min(events.timestamp_ns) as first_ns
    from events
    left join endings on endings.pid = events.pid
    cross join slots
    where endings.pid is null or events.seq < endings.first_seq
    group by 1, 2
) as counted
group by slot_ns, slot_seq
