-- What processes released because they ended, by stack and the cell it was allocated in.
select stack_id, is_mapping, slot_ns, slot_seq, live_bytes, live_count, first_ns, last_ns
from stored_closing
order by stack_id, is_mapping, slot_ns, slot_seq
