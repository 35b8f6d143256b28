-- All releases that have no allocation. One that waited for its realloc() to return is one, if it ended nothing.
select * from stored_releases

union all

select *
from stored_open
where is_release
    and seq not in (select released_seq from stored_open where released_seq is not null)
