-- The frames of the stacks that something live has: stack by stack, leaf first, innermost inlined function first.
select
    calls.stack_id,
    frames.function,
    frames.file,
    frames.line,
    modules.path as module,
    frames.module_offset,
    coalesce(frames.address, 0) as address
from (
    select stack_id, depth, frame_ids[depth] as frame_id
    from (
        select stack_id, frame_ids, unnest(range(1, len(frame_ids) + 1)) as depth
        from stacks
        where stack_id in (select stack_id from live)
    ) as numbered
) as calls
left join frames on frames.frame_id = calls.frame_id
left join modules on modules.module_id = frames.module_id
order by calls.stack_id, calls.depth, frames.position
