-- Every allocation of a block with what ended it, and every release that has no allocation before it.
-- The events before and after at the same address in the same life of a process decide:
-- 1. A release after an allocation makes the pair. After a release, or first of all, it has no allocation.
-- 2. An allocation after an allocation: the release was not seen. But where one thread was given the same address by
--    two functions and nothing is missing in between, the second called the first, which is no call of the program.
-- 3. Nothing after an allocation: the process went, or the block is live.
select
    pairs.seq,
    pairs.timestamp_ns,
    pairs.pid,
    pairs.tid,
    pairs.operation,
    pairs.address,
    pairs.size_bytes,
    pairs.stack_id,
    pairs.lost,
    pairs.life_ns,
    pairs.is_release,
    case when not pairs.is_release then pairs.next_seq end as released_seq,
    case when not pairs.is_release then coalesce(pairs.next_ns, lives.end_ns) end as released_ns,
    case when not pairs.is_release and pairs.next_is_release then pairs.next_tid end as released_tid,
    case
        when pairs.is_release then null
        when pairs.next_is_release then pairs.next_operation
        when pairs.next_seq is not null then 'lost'
        else lives.end_operation
    end as released_operation,
    case
        when pairs.is_release or (pairs.next_seq is null and lives.end_ns is null) then cast(0 as bigint)
        else pairs.size_bytes
    end as released_bytes,
    cast(0 as bigint) as parts_bytes,
    case when pairs.is_release and pairs.previous_is_release then 'double' end as reason
from (
    select
        block_calls.*,
        lead(seq) over (partition by pid, life_ns, address order by seq) as next_seq,
        lead(timestamp_ns) over (partition by pid, life_ns, address order by seq) as next_ns,
        lead(tid) over (partition by pid, life_ns, address order by seq) as next_tid,
        lead(lost) over (partition by pid, life_ns, address order by seq) as next_lost,
        lead(operation) over (partition by pid, life_ns, address order by seq) as next_operation,
        lead(is_release) over (partition by pid, life_ns, address order by seq) as next_is_release,
        lag(is_release) over (partition by pid, life_ns, address order by seq) as previous_is_release
    from block_calls
) as pairs
left join lives on lives.pid = pairs.pid and lives.life_ns = pairs.life_ns
where case
    when pairs.is_release then coalesce(pairs.previous_is_release, true)
    when pairs.next_seq is null or pairs.next_is_release then true
    else pairs.next_tid <> pairs.tid or pairs.next_operation = pairs.operation or pairs.next_lost <> pairs.lost
end
