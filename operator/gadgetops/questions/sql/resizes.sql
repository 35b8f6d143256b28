-- The chosen allocations of each group that were given to realloc(): how many, and how many bytes these held before.
select
    group_id,
    cast(sum(case when released_operation = 'realloc_free' then size_bytes else 0 end) as decimal(38, 0)) as resized_bytes,
    cast(sum(case when released_operation = 'realloc_free' then 1 else 0 end) as bigint) as resize_count,
    count(*) as allocation_count
from chosen
group by group_id
