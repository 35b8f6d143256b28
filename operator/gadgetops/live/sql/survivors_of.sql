-- How many allocations of the stacks $ids, made in each slot of time, are left.
select stack_id, slot_ns, cast(sum(live_count) as bigint) as live_count
from survivors
where stack_id in (select unnest(cast($ids as bigint[])))
group by stack_id, slot_ns
