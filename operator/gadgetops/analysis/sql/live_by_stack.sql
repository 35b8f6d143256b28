-- What is live, by stack id.
select stack_id, sum(live_bytes) as live_bytes, count(*) as live_count
from live
group by stack_id
order by stack_id
