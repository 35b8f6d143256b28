-- How the live bytes of the stacks that leaked changed from slot to slot, and what of theirs was released.
select
    stack_id,
    slot_ns,
    cast(sum(allocated_bytes - released_bytes) as decimal(38, 0)) as change_bytes,
    cast(sum(released_count) as bigint) as released_count
from stored_growth
where stack_id in (select stack_id from stored_survivors)
group by stack_id, slot_ns
