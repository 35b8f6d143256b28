-- What each process was called and which container it ran in, as last heard.
select
    pid,
    max_by(comm, timestamp_ns) as comm,
    max_by(container, timestamp_ns) as container
from processes
group by pid
