-- How the live bytes of the stacks that leaked changed from cell to cell, and what of theirs was released.
select
    stack_id,
    is_mapping,
    slot_ns,
    slot_seq,
    cast(sum(allocated_bytes - released_bytes) as decimal(38, 0)) as change_bytes,
    cast(sum(allocated_count) as bigint) as allocated_count,
    cast(sum(released_count) as bigint) as released_count
from stored_growth
where stack_id in (select stack_id from stored_survivors)
group by stack_id, is_mapping, slot_ns, slot_seq
