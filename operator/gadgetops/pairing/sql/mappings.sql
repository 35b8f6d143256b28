-- Every mapping with what ended it, and every munmap() that unmapped nothing that was seen to be mapped; what became
-- of the ranges is in `mapping_ends` and `idle_unmaps`.
-- An allocator that gives a block back by munmap() does so inside free(): there is no mapping of the program then, and
-- the block was freed by the same thread just before.
select
    calls.*,
    calls.operation = 'munmap' as is_release,
    mapping_ends.released_seq,
    coalesce(mapping_ends.released_ns, lives.end_ns) as released_ns,
    mapping_ends.released_tid,
    coalesce(mapping_ends.released_operation, lives.end_operation) as released_operation,
    case
        when calls.operation = 'munmap' then cast(0 as bigint)
        when mapping_ends.released_seq is not null or lives.end_ns is not null then calls.size_bytes
        else coalesce(mapping_ends.parts_bytes, cast(0 as bigint))
    end as released_bytes,
    coalesce(mapping_ends.parts_bytes, cast(0 as bigint)) as parts_bytes,
    cast(null as varchar) as reason
from calls
left join mapping_ends on mapping_ends.seq = calls.seq
left join lives on lives.pid = calls.pid and lives.life_ns = calls.life_ns
where calls.operation = 'mmap' and calls.address <> 0

union all

select
    calls.*,
    true as is_release,
    cast(null as bigint) as released_seq,
    cast(null as bigint) as released_ns,
    cast(null as integer) as released_tid,
    cast(null as varchar) as released_operation,
    cast(0 as bigint) as released_bytes,
    cast(0 as bigint) as parts_bytes,
    case when nested.seq is not null then 'nested' end as reason
from calls
inner join idle_unmaps on idle_unmaps.seq = calls.seq
left join (
    select distinct unmaps.seq
    from (
        select
            calls.seq,
            calls.pid,
            calls.tid,
            calls.address,
            calls.size_bytes,
            floor(calls.seq / 64) as bucket
        from calls
        inner join idle_unmaps on idle_unmaps.seq = calls.seq
    ) as unmaps
    inner join (
        select seq, pid, tid, address, floor(seq / 64) as bucket
        from calls
        where operation in (select operation from operations where is_release and not is_mapping)
        union all
        select seq, pid, tid, address, floor(seq / 64) + 1 as bucket
        from calls
        where operation in (select operation from operations where is_release and not is_mapping)
    ) as frees
        on frees.bucket = unmaps.bucket and frees.pid = unmaps.pid and frees.tid = unmaps.tid
    where frees.seq < unmaps.seq
        and case
            when frees.address < unmaps.address then false
            when (frees.address < 0) <> (unmaps.address < 0) then false
            else frees.address - unmaps.address < unmaps.size_bytes
        end
) as nested on nested.seq = calls.seq
