-- As `stored_survivors`, of the allocations that the filters chose.
select
    group_id as stack_id,
    timestamp_ns - timestamp_ns % $width_ns as slot_ns,
    seq - seq % $width_seq as slot_seq,
    cast(sum(size_bytes - parts_bytes) as decimal(38, 0)) as live_bytes,
    count(*) as live_count,
    min(timestamp_ns) as first_ns,
    max(timestamp_ns) as last_ns
from chosen
where is_left
group by 1, 2, 3
