-- What the program never released, by stack and the slot of time it was allocated in.
select stack_id, slot_ns, live_bytes, live_count from stored_survivors order by stack_id, slot_ns
