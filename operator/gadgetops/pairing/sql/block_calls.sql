-- The calls that give or take a block, but for those that did nothing.
select
    calls.*,
    operations.is_release
from calls
inner join operations on operations.operation = calls.operation
where calls.address <> 0
    and not operations.is_mapping
    and calls.seq not in (select seq from void_releases)
