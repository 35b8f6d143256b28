-- How the live bytes of the stacks that leaked, or were released at their process's end, changed from cell to cell,
-- and what of theirs was released before.
select
    stack_id,
    is_mapping,
    slot_ns,
    slot_seq,
    cast(sum(allocated_bytes - released_bytes) as decimal(38, 0)) as change_bytes,
    cast(sum(allocated_count) as bigint) as allocated_count,
    cast(sum(released_count) as bigint) as released_count
from stored_growth
where stack_id in (select stack_id from stored_survivors union select stack_id from stored_closing)
group by stack_id, is_mapping, slot_ns, slot_seq
