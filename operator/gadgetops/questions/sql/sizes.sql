-- How many of the chosen allocations have a size of so many binary digits: n digits are 2^(n-1) … 2^n - 1 bytes, and
-- 0 bytes have none.
select
    group_id,
    digits,
    cast(sum(size_bytes) as decimal(38, 0)) as allocated_bytes,
    count(*) as allocated_count,
    cast(sum(case when is_left then size_bytes - parts_bytes else 0 end) as decimal(38, 0)) as live_bytes,
    cast(sum(case when is_left then 1 else 0 end) as bigint) as live_count
from (
    select
        group_id,
        size_bytes,
        parts_bytes,
        is_left,
        case when size_bytes = 0 then 0 else length(bin(size_bytes)) end as digits
    from chosen
) as sized
group by group_id, digits
