-- The names of the processes that something was heard of, the last first.
select comm
from processes
where comm is not null
group by comm
order by max(timestamp_ns) desc, comm
