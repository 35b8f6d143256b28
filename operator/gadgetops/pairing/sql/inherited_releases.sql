-- Releases by a forked process of what it inherited, by seq: an ancestor had it when the process, or its ancestor,
-- was forked. What a nearer ancestor had released before is not inherited.
select distinct releases.seq
from open_releases as releases
inner join ancestors on ancestors.pid = releases.pid and ancestors.life_ns = releases.life_ns
inner join allocations
    on allocations.pid = ancestors.ancestor_pid
    and allocations.address = releases.address
left join (
    -- Of those that released it before, the nearest ancestor: it may have allocated anew at that address.
    select later.seq, max(nearer.fork_ns) as fork_ns
    from open_releases as later
    inner join ancestors as nearer on nearer.pid = later.pid and nearer.life_ns = later.life_ns
    inner join open_releases as earlier
        on earlier.pid = nearer.ancestor_pid
        and earlier.life_ns = nearer.ancestor_life_ns
        and earlier.address = later.address
    where earlier.timestamp_ns < nearer.fork_ns
    group by later.seq
) as released on released.seq = releases.seq
where releases.operation <> 'munmap'
    and allocations.operation <> 'mmap'
    and allocations.timestamp_ns >= ancestors.ancestor_life_ns
    and allocations.timestamp_ns < ancestors.fork_ns
    and (allocations.released_ns is null or allocations.released_ns > ancestors.fork_ns)
    and (released.fork_ns is null or released.fork_ns <= ancestors.fork_ns)

union

select distinct releases.seq
from open_releases as releases
inner join ancestors on ancestors.pid = releases.pid and ancestors.life_ns = releases.life_ns
inner join allocations on allocations.pid = ancestors.ancestor_pid
where releases.operation = 'munmap'
    and allocations.operation = 'mmap'
    and allocations.timestamp_ns >= ancestors.ancestor_life_ns
    and allocations.timestamp_ns < ancestors.fork_ns
    and (allocations.released_ns is null or allocations.released_ns > ancestors.fork_ns)
    and cast(allocations.address as decimal(38, 0)) < cast(releases.address as decimal(38, 0)) + releases.size_bytes
    and cast(releases.address as decimal(38, 0)) < cast(allocations.address as decimal(38, 0)) + allocations.size_bytes
