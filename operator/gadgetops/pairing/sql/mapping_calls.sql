-- The calls that map or unmap memory, in their order.
select seq, timestamp_ns, pid, life_ns, tid, operation, address, size_bytes
from calls
where address <> 0 and operation in (select operation from operations where is_mapping)
order by seq
