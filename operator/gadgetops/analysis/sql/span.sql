-- When the first and the last event happened; no value if there is none.
select min(timestamp_ns) as first_ns, max(timestamp_ns) as last_ns
from events
