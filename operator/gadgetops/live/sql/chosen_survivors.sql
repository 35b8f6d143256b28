-- As `stored_survivors`, of the allocations that the filters chose.
select
    group_id as stack_id,
    timestamp_ns - timestamp_ns % $width_ns as slot_ns,
    cast(sum(size_bytes - parts_bytes) as decimal(38, 0)) as live_bytes,
    count(*) as live_count
from chosen
where is_left
group by group_id, timestamp_ns - timestamp_ns % $width_ns
