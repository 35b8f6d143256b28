-- As `largest`, of the heap alone.
select coalesce(sum(live_bytes), 0) as live_bytes, count(*) as live_count
from (
    select size_bytes as live_bytes
    from leaked
    where operation <> 'mmap'
    order by live_bytes desc
    limit $n
) as largest
