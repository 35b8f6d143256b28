-- What the program never released, by stack and the cell it was allocated in: live, or gone with the exit of its process.
select
    stack_id,
    is_mapping,
    slot_ns,
    slot_seq,
    cast(sum(live_bytes) as decimal(38, 0)) as live_bytes,
    cast(sum(live_count) as bigint) as live_count,
    min(first_ns) as first_ns,
    max(last_ns) as last_ns
from left_by_cell
where how <> 'closing'
group by stack_id, is_mapping, slot_ns, slot_seq
