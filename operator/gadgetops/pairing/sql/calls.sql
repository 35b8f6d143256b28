-- The events to pair, each with the life of its process that it belongs to.
select
    events.seq,
    events.timestamp_ns,
    events.pid,
    events.tid,
    events.operation,
    events.address,
    events.size_bytes,
    events.stack_id,
    events.lost,
    coalesce(lives.life_ns, cast(-9223372036854775807 as bigint)) as life_ns
from events
left join lives
    on lives.pid = events.pid
    and events.timestamp_ns >= lives.life_ns
    and events.timestamp_ns < coalesce(lives.end_ns, cast(9223372036854775807 as bigint))

union all

-- What the calls paired before have left open.
select seq, timestamp_ns, pid, tid, operation, address, size_bytes, stack_id, lost, life_ns
from carried
