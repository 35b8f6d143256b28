-- What is not released.
select
    cast(coalesce(sum(live_bytes), 0) as decimal(38, 0)) as live_bytes,
    cast(coalesce(sum(live_count), 0) as bigint) as live_count
from survivors
