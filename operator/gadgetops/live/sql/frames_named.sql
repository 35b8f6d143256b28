-- The frames $ids with their modules; of inlined functions the innermost first.
select
    frames.frame_id,
    frames.function,
    frames.file,
    frames.line,
    modules.path as module,
    frames.module_offset,
    coalesce(frames.address, 0) as address,
    modules.build_id,
    modules.pid
from frames
left join modules on modules.module_id = frames.module_id
where frames.frame_id in (select unnest(cast($ids as bigint[])))
order by frames.frame_id, frames.position
