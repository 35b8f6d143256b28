-- What this step leaves open: allocations with no end, or one that may change, and releases that may turn out void.
select pairs.*
from pairs
cross join watermark
where not pairs.is_release
    and case
        when pairs.released_seq is null then pairs.released_ns is null or pairs.released_ns > watermark.timestamp_ns
        else pairs.released_seq in (select seq from deferred_releases)
    end

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
    cast(null as varchar) as reason
from calls
where seq in (select seq from deferred_releases)
