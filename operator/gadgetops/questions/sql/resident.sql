-- How much memory each process had in RAM, as often as it was measured.
select timestamp_ns, pid, resident_bytes
from resident
