-- What the $n events that are lost can have released at most of what the program seems never to have released: a
-- block each, or by one munmap() all mappings of a process.
select coalesce(sum(live_bytes), 0) as live_bytes, coalesce(sum(live_count), 0) as live_count
from (
    select live_bytes, live_count
    from (
        select size_bytes as live_bytes, 1 as live_count
        from leaked
        where operation <> 'mmap'

        union all

        select sum(size_bytes - parts_bytes) as live_bytes, count(*) as live_count
        from leaked
        where operation = 'mmap'
        group by pid
    ) as releasable
    order by live_bytes desc
    limit $n
) as largest
