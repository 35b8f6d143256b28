-- What the program never released, by stack and the cell it was allocated in: live, or gone with the exit of its
-- process. What an exec took is none: the program asked for another in its place.
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
    select stack_id, is_mapping, slot_ns, slot_seq, live_bytes, live_count, first_ns, last_ns from exited

    union all

    select
        live.stack_id,
        live.operation = 'mmap' as is_mapping,
        live.timestamp_ns - live.timestamp_ns % slots.width_ns as slot_ns,
        live.seq - live.seq % slots.width_seq as slot_seq,
        live.size_bytes - live.parts_bytes as live_bytes,
        1 as live_count,
        live.timestamp_ns as first_ns,
        live.timestamp_ns as last_ns
    from open_pairs as live
    cross join slots
    where not live.is_release and coalesce(live.released_operation, 'exit') = 'exit'
) as leaks
group by stack_id, is_mapping, slot_ns, slot_seq
