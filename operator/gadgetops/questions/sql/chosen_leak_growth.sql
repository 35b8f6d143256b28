-- As `leak_growth`, of what the filters chose.
select
    stack_id,
    is_mapping,
    slot_ns,
    slot_seq,
    cast(sum(change_bytes) as decimal(38, 0)) as change_bytes,
    cast(sum(allocated_count) as bigint) as allocated_count,
    cast(sum(released_count) as bigint) as released_count
from (
    select
        group_id as stack_id,
        operation = 'mmap' as is_mapping,
        timestamp_ns - timestamp_ns % $width_ns as slot_ns,
        seq - seq % $width_seq as slot_seq,
        size_bytes as change_bytes,
        1 as allocated_count,
        0 as released_count
    from chosen

    union all

    select
        group_id as stack_id,
        operation = 'mmap' as is_mapping,
        released_ns - released_ns % $width_ns as slot_ns,
        coalesce(released_seq - released_seq % $width_seq, cast(9223372036854775807 as bigint)) as slot_seq,
        -size_bytes as change_bytes,
        0 as allocated_count,
        1 as released_count
    from chosen
    where not is_left
) as changed
where stack_id in (select group_id from chosen where is_left)
group by stack_id, is_mapping, slot_ns, slot_seq
