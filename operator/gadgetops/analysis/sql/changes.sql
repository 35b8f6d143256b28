-- What changed the live memory of the chosen allocations, and when: an allocation, its release, the release of a
-- part of it. Changes happen in the order of time, those of one instant in the order of the events; a release
-- that no event tells of (the process went) comes after the events of its instant.
select group_id, timestamp_ns, seq, size_bytes as change_bytes, cast(1 as bigint) as change_count
from chosen

union all

select
    chosen.group_id,
    chosen.released_ns as timestamp_ns,
    coalesce(chosen.released_seq, cast(9223372036854775807 as bigint)) as seq,
    coalesce(parts.released_bytes, 0) - chosen.size_bytes as change_bytes,
    cast(-1 as bigint) as change_count
from chosen
left join (
    select partial_releases.allocation_seq, cast(sum(partial_releases.released_bytes) as bigint) as released_bytes
    from partial_releases
    group by partial_releases.allocation_seq
) as parts on parts.allocation_seq = chosen.seq
where chosen.released_ns is not null

union all

select
    chosen.group_id,
    partial_releases.timestamp_ns,
    partial_releases.seq,
    -partial_releases.released_bytes as change_bytes,
    cast(0 as bigint) as change_count
from partial_releases
inner join chosen on chosen.seq = partial_releases.allocation_seq
