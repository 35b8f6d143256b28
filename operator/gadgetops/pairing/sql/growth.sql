-- What each stack allocated, and what of that the program released, by cell: slots of time cut by slots of sequence
-- numbers; with what the steps before saw. What a process took with it is not released by the program, and what it
-- released because it ended is in `closing`.
select
    stack_id,
    is_mapping,
    slot_ns,
    slot_seq,
    cast(sum(allocated_bytes) as decimal(38, 0)) as allocated_bytes,
    cast(sum(allocated_count) as bigint) as allocated_count,
    cast(sum(released_bytes) as decimal(38, 0)) as released_bytes,
    cast(sum(released_count) as bigint) as released_count
from (
    select
        growth_before.stack_id,
        growth_before.is_mapping,
        growth_before.slot_ns - growth_before.slot_ns % slots.width_ns as slot_ns,
        growth_before.slot_seq - growth_before.slot_seq % slots.width_seq as slot_seq,
        growth_before.allocated_bytes,
        growth_before.allocated_count,
        growth_before.released_bytes,
        growth_before.released_count
    from growth_before
    cross join slots

    union all

    select
        pairs.stack_id,
        pairs.operation = 'mmap' as is_mapping,
        pairs.timestamp_ns - pairs.timestamp_ns % slots.width_ns as slot_ns,
        pairs.seq - pairs.seq % slots.width_seq as slot_seq,
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
        ended.operation = 'mmap' as is_mapping,
        ended.released_ns - ended.released_ns % slots.width_ns as slot_ns,
        -- No event tells of an exec: it comes after those of its instant.
        coalesce(ended.released_seq - ended.released_seq % slots.width_seq, slots.no_seq) as slot_seq,
        0 as allocated_bytes,
        0 as allocated_count,
        ended.size_bytes as released_bytes,
        1 as released_count
    from closed_pairs as ended
    left join endings on endings.pid = ended.pid
    cross join slots
    where ended.released_operation <> 'exit'
        and (
            endings.pid is null
            or ended.seq >= endings.first_seq
            or coalesce(ended.released_seq, -1) < endings.first_seq
        )
) as changes
group by stack_id, is_mapping, slot_ns, slot_seq
