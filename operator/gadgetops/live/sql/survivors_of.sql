-- What is left of the allocations of the stacks $ids, by the cell they were made in.
select
    stack_id,
    false as is_mapping,
    slot_ns,
    slot_seq,
    cast(sum(live_bytes) as decimal(38, 0)) as live_bytes,
    cast(sum(live_count) as bigint) as live_count,
    min(first_ns) as first_ns,
    max(last_ns) as last_ns
from survivors
where stack_id in (select unnest(cast($ids as bigint[])))
group by stack_id, slot_ns, slot_seq
