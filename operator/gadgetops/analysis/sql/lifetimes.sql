-- How long the chosen allocations lived that the program released, by group; the row without a group is for all.
-- Those that ended with their process, or whose release was not seen, have no lifetime.
select
    group_id,
    count(*) as released_count,
    percentile_disc(0.5) within group (order by lifetime_ns) as p50_ns,
    percentile_disc(0.9) within group (order by lifetime_ns) as p90_ns,
    percentile_disc(0.99) within group (order by lifetime_ns) as p99_ns,
    max(lifetime_ns) as max_ns
from (
    select group_id, greatest(released_ns - timestamp_ns, 0) as lifetime_ns
    from chosen
    where released_seq is not null and released_operation <> 'lost'
) as lives
group by grouping sets ((group_id), ())
