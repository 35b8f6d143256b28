-- Each cell with its events, and how many stacks allocated in it for the first time.
select
    cells.slot_ns,
    cells.slot_seq,
    cells.event_count,
    cells.first_ns,
    coalesce(new_stacks.stack_count, 0) as stack_count
from stored_cells as cells
left join (
    select slot_ns, slot_seq, count(*) as stack_count
    from (
        select stack_id, min(slot_ns) as slot_ns, min(slot_seq) as slot_seq
        from stored_growth
        where allocated_count > 0
        group by stack_id
    ) as first_seen
    group by slot_ns, slot_seq
) as new_stacks on new_stacks.slot_ns = cells.slot_ns and new_stacks.slot_seq = cells.slot_seq
order by cells.slot_ns, cells.slot_seq
