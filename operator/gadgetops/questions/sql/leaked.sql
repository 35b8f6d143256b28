-- What the program never released: live at the end, or gone with the exit of its process.
select pid, operation, size_bytes, parts_bytes
from (
    select pid, operation, size_bytes, parts_bytes, is_release, released_operation from stored_closed
    union all
    select pid, operation, size_bytes, parts_bytes, is_release, released_operation from stored_open
) as pairs
where not is_release and coalesce(released_operation, 'exit') = 'exit'
