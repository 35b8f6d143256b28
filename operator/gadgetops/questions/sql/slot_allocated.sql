-- What the chosen allocations of each group and slot of time come to: all, what is left, what was temporary.
select
    group_id,
    least(cast(floor((timestamp_ns - $start_ns) / $width_ns) as bigint), $last) as slot,
    cast(least(sum(size_bytes), $most_bytes) as bigint) as allocated_bytes,
    count(*) as allocated_count,
    cast(least(sum(case when is_left then size_bytes - parts_bytes else 0 end), $most_bytes) as bigint) as left_bytes,
    cast(sum(case when is_left then 1 else 0 end) as bigint) as left_count,
    cast(least(sum(case when is_temporary then size_bytes else 0 end), $most_bytes) as bigint) as temporary_bytes,
    cast(sum(case when is_temporary then 1 else 0 end) as bigint) as temporary_count
from chosen
group by group_id, least(cast(floor((timestamp_ns - $start_ns) / $width_ns) as bigint), $last)
