-- How the live bytes of the stacks $ids changed in each slot of time.
select stack_id, slot_ns, cast(sum(allocated_bytes - released_bytes) as decimal(38, 0)) as change_bytes
from growth
where stack_id in (select unnest(cast($ids as bigint[])))
group by stack_id, slot_ns
