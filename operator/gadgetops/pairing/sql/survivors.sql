-- What the program never released, by stack and the slot it was allocated in: live, or gone with the exit of its
-- process. What an exec took is none: the program asked for another in its place.
select
    stack_id,
    slot_ns,
    cast(sum(live_bytes) as decimal(38, 0)) as live_bytes,
    cast(sum(live_count) as bigint) as live_count
from (
    select stack_id, slot_ns, live_bytes, live_count from exited

    union all

    select
        live.stack_id,
        live.timestamp_ns - live.timestamp_ns % slots.width_ns as slot_ns,
        live.size_bytes - live.parts_bytes as live_bytes,
        1 as live_count
    from open_pairs as live
    cross join slots
    where not live.is_release and coalesce(live.released_operation, 'exit') = 'exit'
) as leaks
group by stack_id, slot_ns
