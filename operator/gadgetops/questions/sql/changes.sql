-- What changed the live memory of the chosen allocations, and when: an allocation, its release, the release of a
-- part of it. Changes happen in the order of time, those of one instant in the order of the events; a release
-- that no event tells of (the process went) comes after the events of its instant.
select group_id, timestamp_ns, seq, size_bytes as change_bytes, cast(1 as bigint) as change_count
from chosen

union all

select
    group_id,
    released_ns as timestamp_ns,
    coalesce(released_seq, cast(9223372036854775807 as bigint)) as seq,
    parts_bytes - size_bytes as change_bytes,
    cast(-1 as bigint) as change_count
from chosen
where released_ns is not null

union all

select
    chosen.group_id,
    partial_releases.timestamp_ns,
    partial_releases.seq,
    -partial_releases.released_bytes as change_bytes,
    cast(0 as bigint) as change_count
from partial_releases
inner join chosen on chosen.seq = partial_releases.allocation_seq
