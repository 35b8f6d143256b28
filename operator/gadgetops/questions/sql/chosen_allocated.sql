-- All that the filters chose: one row.
select coalesce(sum(size_bytes), 0) as allocated_bytes, count(*) as allocated_count from chosen
