-- As `leak_slots`, of what the filters chose.
select
    group_id as stack_id,
    timestamp_ns - timestamp_ns % $width_ns as slot_ns,
    cast(sum(size_bytes - parts_bytes) as decimal(38, 0)) as live_bytes,
    count(*) as live_count
from chosen
where is_left
group by 1, 2
order by 1, 2
