-- What each stack allocated, and what of that the program released, in slots of time; with what the steps before saw.
-- What a process took with it is not released by the program.
select
    stack_id,
    slot_ns,
    cast(sum(allocated_bytes) as decimal(38, 0)) as allocated_bytes,
    cast(sum(allocated_count) as bigint) as allocated_count,
    cast(sum(released_bytes) as decimal(38, 0)) as released_bytes,
    cast(sum(released_count) as bigint) as released_count
from (
    select
        growth_before.stack_id,
        growth_before.slot_ns - growth_before.slot_ns % slots.width_ns as slot_ns,
        growth_before.allocated_bytes,
        growth_before.allocated_count,
        growth_before.released_bytes,
        growth_before.released_count
    from growth_before
    cross join slots

    union all

    select
        pairs.stack_id,
        pairs.timestamp_ns - pairs.timestamp_ns % slots.width_ns as slot_ns,
        pairs.size_bytes as allocated_bytes,
        1 as allocated_count,
        0 as released_bytes,
        0 as released_count
    from pairs
    cross join slots
    where not pairs.is_release and pairs.seq >= slots.first_seq

    union all

    select
        ended.stack_id,
        ended.released_ns - ended.released_ns % slots.width_ns as slot_ns,
        0 as allocated_bytes,
        0 as allocated_count,
        ended.size_bytes as released_bytes,
        1 as released_count
    from closed_pairs as ended
    cross join slots
    where ended.released_operation <> 'exit'
) as changes
group by stack_id, slot_ns
