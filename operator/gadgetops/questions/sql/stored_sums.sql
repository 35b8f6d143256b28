-- What pairing keeps of each stack: all it allocated, and what of that the program never released. Whose thread it was
-- is not kept.
select
    stack_id,
    cast(0 as integer) as pid,
    cast(0 as integer) as tid,
    cast(sum(allocated_bytes) as decimal(38, 0)) as allocated_bytes,
    cast(sum(allocated_count) as bigint) as allocated_count,
    cast(sum(live_bytes) as decimal(38, 0)) as live_bytes,
    cast(sum(live_count) as bigint) as live_count
from (
    select
        stack_id,
        allocated_bytes,
        allocated_count,
        cast(0 as decimal(38, 0)) as live_bytes,
        cast(0 as bigint) as live_count
    from stored_growth

    union all

    select
        stack_id,
        cast(0 as decimal(38, 0)) as allocated_bytes,
        cast(0 as bigint) as allocated_count,
        live_bytes,
        live_count
    from stored_survivors
) as kept
group by stack_id
having sum(allocated_count) > 0
