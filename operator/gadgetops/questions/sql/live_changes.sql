-- How the live memory of the chosen allocations changed, in the order in which it did: a row where memory came and a
-- row where it went. A mapping that was released in parts comes as so many pieces, each of which goes as a whole. What
-- went with the exit of its process does not go: the program never released it.
select timestamp_ns, seq, group_id, pid, tid, address, change_bytes, is_release
from (
    select
        pieces.began_ns as timestamp_ns,
        pieces.began_seq as seq,
        pieces.group_id,
        pieces.pid,
        pieces.tid,
        pieces.address,
        pieces.size_bytes as change_bytes,
        false as is_release,
        pieces.number
    from pieces

    union all

    select
        -- Threads read the clock each on its own processor.
        greatest(pieces.ended_ns, pieces.began_ns) as timestamp_ns,
        coalesce(pieces.ended_seq, cast(9223372036854775807 as bigint)) as seq,
        pieces.group_id,
        pieces.pid,
        pieces.ended_tid as tid,
        pieces.address,
        -pieces.size_bytes as change_bytes,
        true as is_release,
        pieces.number
    from pieces
    where pieces.ended_ns is not null
) as changes
-- An address that is given again was released first, by the same event.
order by timestamp_ns, seq, case when is_release then 0 else 1 end, number
