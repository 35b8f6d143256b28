-- What was allocated and released in each slot of time.
select
    slot_ns,
    cast(sum(allocated_bytes) as decimal(38, 0)) as allocated_bytes,
    cast(sum(allocated_count) as bigint) as allocated_count,
    cast(sum(released_bytes) as decimal(38, 0)) as released_bytes
from growth
group by slot_ns
order by slot_ns
