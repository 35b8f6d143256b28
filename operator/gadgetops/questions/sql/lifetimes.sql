-- How long the chosen allocations lived that the program released, by group; if $is_together is 1, all together, as
-- group 0.
--
-- To put all lifetimes in order, all would have to be in memory at once. So they are counted by rounded lifetimes, and
-- only those are put in order that share one with what is looked for.
select
    group_id,
    max(released_count) as released_count,
    min(case when percent = 50 and not_longer_count >= nth then lifetime_ns end) as p50_ns,
    min(case when percent = 90 and not_longer_count >= nth then lifetime_ns end) as p90_ns,
    min(case when percent = 99 and not_longer_count >= nth then lifetime_ns end) as p99_ns,
    max(max_ns) as max_ns
from (
    select
        group_id,
        released_count,
        max_ns,
        percent,
        nth,
        lifetime_ns,
        sum(lifetime_count) over (
            partition by group_id, percent
            order by lifetime_ns
            rows between unbounded preceding and current row
        ) as not_longer_count
    from (
        select
            wanted.group_id,
            wanted.released_count,
            wanted.max_ns,
            wanted.percent,
            wanted.nth,
            lived.lifetime_ns,
            count(*) as lifetime_count
        from (
            select
                counts.group_id,
                counts.rounded_ns,
                counts.lifetime_count,
                counts.released_count,
                counts.max_ns,
                percents.percent,
                -- The first that so many of a hundred do not outlive, counted among those of its rounded lifetime.
                cast(floor((counts.released_count * percents.percent + 99) / 100) as bigint)
                    - (counts.not_longer_count - counts.lifetime_count) as nth
            from (
                select
                    group_id,
                    rounded_ns,
                    lifetime_count,
                    sum(lifetime_count) over (partition by group_id) as released_count,
                    max(longest_ns) over (partition by group_id) as max_ns,
                    sum(lifetime_count) over (
                        partition by group_id
                        order by rounded_ns
                        rows between unbounded preceding and current row
                    ) as not_longer_count
                from (
                    select
                        case when $is_together = 1 then 0 else group_id end as group_id,
                        rounded_ns,
                        count(*) as lifetime_count,
                        max(lifetime_ns) as longest_ns
                    from lived
                    group by case when $is_together = 1 then 0 else group_id end, rounded_ns
                ) as rounded
            ) as counts
            cross join (
                select 50 as percent
                union all select 90 as percent
                union all select 99 as percent
            ) as percents
        ) as wanted
        inner join lived
            on case when $is_together = 1 then 0 else lived.group_id end = wanted.group_id
            and lived.rounded_ns = wanted.rounded_ns
        where wanted.nth between 1 and wanted.lifetime_count
        group by
            wanted.group_id,
            wanted.released_count,
            wanted.max_ns,
            wanted.percent,
            wanted.nth,
            lived.lifetime_ns
    ) as candidates
) as ranked
group by group_id
