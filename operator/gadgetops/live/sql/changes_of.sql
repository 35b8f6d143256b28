-- How the live bytes of the stacks $ids changed in each cell, and how many allocations and releases that were.
select
    stack_id,
    false as is_mapping,
    slot_ns,
    slot_seq,
    cast(sum(allocated_bytes - released_bytes) as decimal(38, 0)) as change_bytes,
    cast(sum(allocated_count) as bigint) as allocated_count,
    cast(sum(released_count) as bigint) as released_count
from growth
where stack_id in (select unnest(cast($ids as bigint[])))
group by stack_id, slot_ns, slot_seq
