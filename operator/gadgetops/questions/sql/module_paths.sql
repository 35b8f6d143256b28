-- The files that stacks are in.
select distinct path
from modules
where path is not null
order by path
