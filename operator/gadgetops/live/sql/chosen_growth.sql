-- As `stored_growth`, of the allocations that the filters chose.
select
    stack_id,
    slot_ns,
    slot_seq,
    cast(sum(allocated_bytes) as decimal(38, 0)) as allocated_bytes,
    cast(sum(allocated_count) as bigint) as allocated_count,
    cast(sum(released_bytes) as decimal(38, 0)) as released_bytes,
    cast(sum(released_count) as bigint) as released_count
from (
    select
        group_id as stack_id,
        timestamp_ns - timestamp_ns % $width_ns as slot_ns,
        seq - seq % $width_seq as slot_seq,
        size_bytes as allocated_bytes,
        1 as allocated_count,
        0 as released_bytes,
        0 as released_count
    from chosen

    union all

    select
        group_id as stack_id,
        released_ns - released_ns % $width_ns as slot_ns,
        coalesce(released_seq - released_seq % $width_seq, cast(9223372036854775807 as bigint)) as slot_seq,
        0 as allocated_bytes,
        0 as allocated_count,
        size_bytes as released_bytes,
        1 as released_count
    from chosen
    where not is_left
) as changes
group by stack_id, slot_ns, slot_seq
