-- The releases without an allocation, and why: `double` (released already), `nested` (an allocator's own), `unknown`
-- (allocated before the recording began, or not seen). The release of what a process inherited is none of them.
select
    releases.seq,
    releases.timestamp_ns,
    releases.pid,
    releases.tid,
    releases.operation,
    releases.address,
    releases.stack_id,
    coalesce(
        releases.reason,
        case when doubles.seq is not null or repeated.seq is not null then 'double' else 'unknown' end
    ) as reason
from open_releases as releases
left join (
    select distinct open_releases.seq
    from open_releases
    inner join allocations
        on allocations.pid = open_releases.pid
        and allocations.address = open_releases.address
    where (allocations.operation = 'mmap') = (open_releases.operation = 'munmap')
        and allocations.timestamp_ns >= open_releases.life_ns
        and allocations.released_seq < open_releases.seq
) as doubles on doubles.seq = releases.seq
left join (
    -- After another release without an allocation, of a segment before: one step sees only its own.
    select seq
    from (
        select seq, lag(seq) over (partition by pid, life_ns, address order by seq) as previous_seq
        from open_releases
        where operation <> 'munmap'
    ) as lone
    where previous_seq is not null
) as repeated on repeated.seq = releases.seq
where releases.reason is not null or repeated.seq is not null or releases.seq not in (select seq from inherited_releases)
