-- How the live memory of each group changes from bucket to bucket, each $width_ns long, from $start_ns on. The last
-- bucket, $last, also has what comes after it.
select
    group_id,
    least(cast(floor((timestamp_ns - $start_ns) / $width_ns) as bigint), $last) as bucket,
    cast(sum(change_bytes) as decimal(38, 0)) as change_bytes,
    cast(sum(change_count) as bigint) as change_count,
    cast(sum(case when change_count > 0 then change_bytes else 0 end) as decimal(38, 0)) as allocated_bytes,
    cast(sum(case when change_count > 0 then 1 else 0 end) as bigint) as allocated_count
from changes
group by group_id, least(cast(floor((timestamp_ns - $start_ns) / $width_ns) as bigint), $last)
