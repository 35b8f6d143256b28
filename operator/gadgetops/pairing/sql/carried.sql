-- What the step before left open, as the calls it came from.
select seq, timestamp_ns, pid, tid, operation, address, size_bytes, stack_id, lost, life_ns
from open_before
