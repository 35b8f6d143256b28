-- The threads that allocated, those with most bytes first.
select pid, tid, cast(sum(size_bytes) as decimal(38, 0)) as allocated_bytes
from allocations
group by pid, tid
order by allocated_bytes desc, pid, tid
