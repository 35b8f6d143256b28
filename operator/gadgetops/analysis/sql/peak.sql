-- What was live at the first moment when the chosen allocations had most bytes live, by group.
select
    changes.group_id,
    moment.timestamp_ns,
    moment.seq,
    cast(sum(changes.change_bytes) as decimal(38, 0)) as live_bytes,
    cast(sum(changes.change_count) as bigint) as live_count
from changes
cross join (
    select timestamp_ns, seq, live_bytes
    from (
        select
            timestamp_ns,
            seq,
            -- An allocation at an address whose release was lost comes with that release: the release is first.
            sum(change_bytes) over (
                order by timestamp_ns, seq, change_bytes
                rows between unbounded preceding and current row
            ) as live_bytes
        from changes
    ) as moments
    order by live_bytes desc, timestamp_ns, seq
    limit 1
) as moment
where changes.timestamp_ns < moment.timestamp_ns
    or (changes.timestamp_ns = moment.timestamp_ns and changes.seq <= moment.seq)
group by changes.group_id, moment.timestamp_ns, moment.seq
having sum(changes.change_count) > 0
