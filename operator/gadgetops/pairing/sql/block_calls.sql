-- The calls that give or take a block, but for those that did nothing.
select
    calls.seq,
    calls.timestamp_ns,
    calls.pid,
    calls.tid,
    calls.operation,
    calls.address,
    calls.size_bytes,
    calls.stack_id,
    calls.lost,
    calls.life_ns,
    operations.is_release
from calls
inner join operations on operations.operation = calls.operation
where calls.address <> 0
    and not operations.is_mapping
    and calls.seq not in (select seq from void_releases)
