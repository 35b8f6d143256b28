-- Allocations and releases of the processes that have ended, in bins of sequence numbers.
select
    pid,
    seq - seq % $bin as bin_seq,
    sum(case when operation in ('free', 'realloc_free', 'munmap') then 0 else 1 end) as allocation_count,
    sum(case when operation in ('free', 'realloc_free', 'munmap') then 1 else 0 end) as release_count
from events
where address <> 0 and pid in (select pid from lives where end_operation = 'exit')
group by pid, seq - seq % $bin
order by pid, bin_seq
