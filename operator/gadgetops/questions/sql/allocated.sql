-- All that was allocated, of the heap and in mappings: a row each, where there is any.
select
    is_mapping,
    coalesce(sum(allocated_bytes), 0) as allocated_bytes,
    coalesce(sum(allocated_count), 0) as allocated_count
from stored_growth
group by is_mapping
