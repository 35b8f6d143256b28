-- Every frame with the path of its module; of inlined functions the innermost first.
select
    frames.frame_id,
    frames.function,
    frames.file,
    frames.line,
    modules.path as module,
    frames.module_offset,
    coalesce(frames.address, 0) as address
from frames
left join modules on modules.module_id = frames.module_id
order by frames.frame_id, frames.position
