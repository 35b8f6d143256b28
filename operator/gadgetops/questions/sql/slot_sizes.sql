-- The sizes of the chosen allocations as in `sizes`, by slot of time; groups are taken together by $part.
select
    cast(floor(group_id / $part) as bigint) as part,
    least(cast(floor((timestamp_ns - $start_ns) / $width_ns) as bigint), $last) as slot,
    case when size_bytes = 0 then 0 else length(bin(size_bytes)) end as digits,
    cast(least(sum(size_bytes), $most_bytes) as bigint) as allocated_bytes,
    count(*) as allocated_count,
    cast(least(sum(case when is_left then size_bytes - parts_bytes else 0 end), $most_bytes) as bigint) as left_bytes,
    cast(sum(case when is_left then 1 else 0 end) as bigint) as left_count
from chosen
group by
    cast(floor(group_id / $part) as bigint),
    least(cast(floor((timestamp_ns - $start_ns) / $width_ns) as bigint), $last),
    case when size_bytes = 0 then 0 else length(bin(size_bytes)) end
