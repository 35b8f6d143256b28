-- What is missing, as far as events and pairs tell: one row.
select
    events_missing.lost,
    events_missing.failed_stacks,
    (select count(*) from allocations where released_operation = 'lost') as unseen_releases
from (
    select
        coalesce(max(lost), 0) as lost,
        coalesce(sum(case when stack_id = -2 then 1 else 0 end), 0) as failed_stacks
    from events
) as events_missing
