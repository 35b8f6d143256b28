-- What processes took with them at their exit and never released, by stack and the cell it was allocated in.
select
    stack_id,
    is_mapping,
    slot_ns,
    slot_seq,
    cast(sum(live_bytes) as decimal(38, 0)) as live_bytes,
    cast(sum(live_count) as bigint) as live_count,
    min(first_ns) as first_ns,
    max(last_ns) as last_ns
from (
    select
        exited_before.stack_id,
        exited_before.is_mapping,
        exited_before.slot_ns - exited_before.slot_ns % slots.width_ns as slot_ns,
        exited_before.slot_seq - exited_before.slot_seq % slots.width_seq as slot_seq,
        exited_before.live_bytes,
        exited_before.live_count,
        exited_before.first_ns,
        exited_before.last_ns
    from exited_before
    cross join slots

    union all

    select
        ended.stack_id,
        ended.operation = 'mmap' as is_mapping,
        ended.timestamp_ns - ended.timestamp_ns % slots.width_ns as slot_ns,
        ended.seq - ended.seq % slots.width_seq as slot_seq,
        ended.size_bytes - ended.parts_bytes as live_bytes,
        1 as live_count,
        ended.timestamp_ns as first_ns,
        ended.timestamp_ns as last_ns
    from closed_pairs as ended
    cross join slots
    where ended.released_operation = 'exit'
) as leaks
group by stack_id, is_mapping, slot_ns, slot_seq
