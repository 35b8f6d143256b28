-- The chosen allocations that the allocating thread released again with at most $others other allocations of its
-- own in between: an allocation released before its thread made another $others + 1, or by the last of these, as a
-- mapping is that is mapped over. All allocations count as others, chosen or not.
select
    group_id,
    cast(sum(size_bytes) as decimal(38, 0)) as allocated_bytes,
    count(*) as allocated_count,
    cast(sum(case when is_temporary then size_bytes else 0 end) as decimal(38, 0)) as temporary_bytes,
    cast(sum(case when is_temporary then 1 else 0 end) as bigint) as temporary_count
from (
    select
        group_id,
        is_chosen,
        size_bytes,
        released_seq is not null
            and released_operation <> 'lost'
            and released_tid = tid
            and released_seq <= coalesce(
                lead(seq, $others + 1) over (partition by pid, tid order by seq),
                cast(9223372036854775807 as bigint)
            ) as is_temporary
    from grouped
) as calls
where is_chosen
group by group_id
