-- How long the chosen allocations lived, by decimal digits of the nanoseconds and by slot of time; -1: they have no
-- lifetime, as in `lived`. Groups are taken together by $part.
select
    cast(floor(group_id / $part) as bigint) as part,
    slot,
    case
        when lifetime_ns is null then -1
        else length(cast(lifetime_ns as varchar))
    end as digits,
    count(*) as allocated_count
from (
    select
        group_id,
        least(cast(floor((timestamp_ns - $start_ns) / $width_ns) as bigint), $last) as slot,
        case
            when released_seq is not null and released_operation <> 'lost' then greatest(released_ns - timestamp_ns, 0)
        end as lifetime_ns
    from chosen
) as lives
group by
    cast(floor(group_id / $part) as bigint),
    slot,
    case
        when lifetime_ns is null then -1
        else length(cast(lifetime_ns as varchar))
    end
