-- The $n largest live allocations together.
select coalesce(sum(live_bytes), 0) as live_bytes, count(*) as live_count
from (
    select live_bytes
    from live
    order by live_bytes desc
    limit $n
) as largest
