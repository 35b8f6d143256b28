-- As `leak_growth`, of what the filters chose.
select
    stack_id,
    slot_ns,
    cast(sum(change_bytes) as decimal(38, 0)) as change_bytes,
    cast(sum(released_count) as bigint) as released_count
from (
    select
        group_id as stack_id,
        timestamp_ns - timestamp_ns % $width_ns as slot_ns,
        size_bytes as change_bytes,
        0 as released_count
    from chosen

    union all

    select
        group_id as stack_id,
        released_ns - released_ns % $width_ns as slot_ns,
        -size_bytes as change_bytes,
        1 as released_count
    from chosen
    where not is_left
) as changed
where stack_id in (select group_id from chosen where is_left)
group by stack_id, slot_ns
