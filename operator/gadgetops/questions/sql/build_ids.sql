-- The build-id of each module, where it is known.
select path, max(build_id) as build_id
from modules
where path is not null and build_id is not null
group by path
