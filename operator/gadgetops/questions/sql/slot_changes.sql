-- How the live memory of each group changes in each slot of time: in all, and up to the slot's highest moment.
select
    group_id,
    slot,
    cast(greatest(least(sum(change_bytes), $most_bytes), -$most_bytes) as bigint) as change_bytes,
    cast(sum(change_count) as bigint) as change_count,
    cast(
        greatest(least(sum(case when is_before then change_bytes else 0 end), $most_bytes), -$most_bytes) as bigint
    ) as rise_bytes,
    cast(sum(case when is_before then change_count else 0 end) as bigint) as rise_count
from (
    select
        changed.group_id,
        changed.slot,
        changed.change_bytes,
        changed.change_count,
        changed.timestamp_ns < slot_peaks.timestamp_ns
            or (changed.timestamp_ns = slot_peaks.timestamp_ns and changed.seq <= slot_peaks.seq) as is_before
    from (
        select
            *,
            least(cast(floor((timestamp_ns - $start_ns) / $width_ns) as bigint), $last) as slot
        from changes
    ) as changed
    inner join slot_peaks on slot_peaks.slot = changed.slot
) as cut
group by group_id, slot
