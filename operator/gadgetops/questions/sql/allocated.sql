-- All that was allocated: one row.
select
    coalesce(sum(allocated_bytes), 0) as allocated_bytes,
    coalesce(sum(allocated_count), 0) as allocated_count
from stored_growth
