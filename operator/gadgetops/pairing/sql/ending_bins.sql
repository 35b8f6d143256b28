-- Allocations and releases of the processes that have ended, in bins of sequence numbers.
select
    events.pid,
    events.seq - events.seq % $bin as bin_seq,
    sum(case when operations.is_release then 0 else 1 end) as allocation_count,
    sum(case when operations.is_release then 1 else 0 end) as release_count
from events
inner join operations on operations.operation = events.operation
where events.address <> 0 and events.pid in (select pid from lives where end_operation = 'exit')
group by events.pid, events.seq - events.seq % $bin
order by events.pid, bin_seq
