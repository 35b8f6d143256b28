-- The stacks with most bytes live, and those with most bytes allocated, $most of each.
select
    stack_id,
    allocated_bytes,
    allocated_count,
    released_count,
    live_bytes,
    live_count
from (
    select
        *,
        row_number() over (order by live_bytes desc, stack_id) as by_live,
        row_number() over (order by allocated_bytes desc, stack_id) as by_allocated
    from (
        select
            allocated.stack_id,
            allocated.allocated_bytes,
            allocated.allocated_count,
            allocated.released_count,
            coalesce(left_over.live_bytes, 0) as live_bytes,
            coalesce(left_over.live_count, 0) as live_count
        from (
            select
                stack_id,
                cast(sum(allocated_bytes) as decimal(38, 0)) as allocated_bytes,
                cast(sum(allocated_count) as bigint) as allocated_count,
                cast(sum(released_count) as bigint) as released_count
            from growth
            group by stack_id
        ) as allocated
        left join (
            select
                stack_id,
                cast(sum(live_bytes) as decimal(38, 0)) as live_bytes,
                cast(sum(live_count) as bigint) as live_count
            from survivors
            group by stack_id
        ) as left_over on left_over.stack_id = allocated.stack_id
    ) as sums
) as ranked
where by_live <= $most or by_allocated <= $most
