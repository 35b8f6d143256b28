-- What processes released because they ended, by stack and the cell it was allocated in: live before these releases
-- began (`endings` has their first sequence number); with what the steps before saw.
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
        closing_before.stack_id,
        closing_before.is_mapping,
        closing_before.slot_ns - closing_before.slot_ns % slots.width_ns as slot_ns,
        closing_before.slot_seq - closing_before.slot_seq % slots.width_seq as slot_seq,
        closing_before.live_bytes,
        closing_before.live_count,
        closing_before.first_ns,
        closing_before.last_ns
    from closing_before
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
    inner join endings on endings.pid = ended.pid
    cross join slots
    where ended.released_seq >= endings.first_seq and ended.seq < endings.first_seq
) as closed
group by stack_id, is_mapping, slot_ns, slot_seq
