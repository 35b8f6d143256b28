-- What processes took with them at their exit and never released, by stack and the slot it was allocated in.
select
    stack_id,
    slot_ns,
    cast(sum(live_bytes) as decimal(38, 0)) as live_bytes,
    cast(sum(live_count) as bigint) as live_count
from (
    select
        exited_before.stack_id,
        exited_before.slot_ns - exited_before.slot_ns % slots.width_ns as slot_ns,
        exited_before.live_bytes,
        exited_before.live_count
    from exited_before
    cross join slots

    union all

    select
        ended.stack_id,
        ended.timestamp_ns - ended.timestamp_ns % slots.width_ns as slot_ns,
        ended.size_bytes - ended.parts_bytes as live_bytes,
        1 as live_count
    from closed_pairs as ended
    cross join slots
    where ended.released_operation = 'exit'
) as leaks
group by stack_id, slot_ns
