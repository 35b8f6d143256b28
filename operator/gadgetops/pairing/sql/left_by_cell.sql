-- What is left of allocations, by stack and the cell it was allocated in, with what the steps before saw; `how` says
-- how: `live`, `exited` (its process took it along), or `closing` (its process released it because it ended: it was live
-- before these releases began, and `endings` has their first sequence number). What an exec took is not left: the program
-- asked for another one in its place.
select
    how,
    stack_id,
    is_mapping,
    slot_ns - slot_ns % slots.width_ns as slot_ns,
    slot_seq - slot_seq % slots.width_seq as slot_seq,
    cast(sum(live_bytes) as decimal(38, 0)) as live_bytes,
    cast(sum(live_count) as bigint) as live_count,
    min(first_ns) as first_ns,
    max(last_ns) as last_ns
from (
    select 'exited' as how, stack_id, is_mapping, slot_ns, slot_seq, live_bytes, live_count, first_ns, last_ns
    from exited_before

    union all

    select 'closing' as how, stack_id, is_mapping, slot_ns, slot_seq, live_bytes, live_count, first_ns, last_ns
    from closing_before

    union all

    select
        how,
        stack_id,
        operation = 'mmap' as is_mapping,
        timestamp_ns as slot_ns,
        seq as slot_seq,
        size_bytes - parts_bytes as live_bytes,
        1 as live_count,
        timestamp_ns as first_ns,
        timestamp_ns as last_ns
    from (
        select 'live' as how, stack_id, operation, timestamp_ns, seq, size_bytes, parts_bytes
        from open_pairs
        where not is_release and coalesce(released_operation, 'exit') = 'exit'

        union all

        select 'exited' as how, stack_id, operation, timestamp_ns, seq, size_bytes, parts_bytes
        from closed_pairs
        where released_operation = 'exit'

        union all

        select
            'closing' as how,
            ended.stack_id,
            ended.operation,
            ended.timestamp_ns,
            ended.seq,
            ended.size_bytes,
            ended.parts_bytes
        from closed_pairs as ended
        inner join endings on endings.pid = ended.pid
        where ended.released_seq >= endings.first_seq and ended.seq < endings.first_seq
    ) as allocations
) as remains
cross join slots
group by
    how,
    stack_id,
    is_mapping,
    slot_ns - slot_ns % slots.width_ns,
    slot_seq - slot_seq % slots.width_seq
