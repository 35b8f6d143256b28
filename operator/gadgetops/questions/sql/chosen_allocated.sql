-- All that the filters chose, of the heap and in mappings: a row each, where there is any.
select operation = 'mmap' as is_mapping, coalesce(sum(size_bytes), 0) as allocated_bytes, count(*) as allocated_count
from chosen
group by 1
