-- Allocations of this step of which nothing to come can change what ended them.
select pairs.*
from pairs
cross join watermark
where not pairs.is_release
    and (pairs.released_seq is not null or pairs.released_ns <= watermark.timestamp_ns)
    and coalesce(pairs.released_seq, -1) not in (select seq from deferred_releases)
