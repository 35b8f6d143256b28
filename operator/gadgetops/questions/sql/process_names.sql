-- What each process was called and which container it ran in, as last heard.
select
    pid,
    -- Where nothing is known nothing is asked: engines differ in what they do with it.
    max_by(comm, case when comm is not null then timestamp_ns end) as comm,
    max_by(container, case when container is not null then timestamp_ns end) as container
from processes
group by pid
