-- The chosen faulty calls, by kind, operation and group.
select
    faulty_calls.fault,
    faulty_calls.operation,
    stack_groups.group_id + thread_groups.group_id as group_id,
    count(*) as fault_count,
    cast(coalesce(sum(faulty_calls.size_bytes), 0) as decimal(38, 0)) as fault_bytes,
    min(faulty_calls.timestamp_ns) as first_ns
from faulty_calls
inner join stack_groups on stack_groups.stack_id = faulty_calls.stack_id
inner join thread_groups on thread_groups.pid = faulty_calls.pid and thread_groups.tid = faulty_calls.tid
cross join bounds
where stack_groups.is_chosen
    and thread_groups.is_chosen
    and faulty_calls.timestamp_ns >= bounds.since_ns
    and faulty_calls.timestamp_ns < bounds.until_ns
    and coalesce(faulty_calls.size_bytes, 0) >= bounds.min_bytes
    and coalesce(faulty_calls.size_bytes, 0) <= bounds.max_bytes
group by faulty_calls.fault, faulty_calls.operation, stack_groups.group_id + thread_groups.group_id
