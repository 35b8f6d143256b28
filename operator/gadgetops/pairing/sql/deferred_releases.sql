-- Releases by realloc() that may still turn out to be void: it had not returned after the last call, and the address
-- was not used again.
select releases.seq
from (
    select max(seq) as seq from calls where operation in ('realloc', 'realloc_free') group by pid, tid
) as latest
inner join calls as releases on releases.seq = latest.seq
left join calls as later
    on later.pid = releases.pid
    and later.address = releases.address
    and later.seq > releases.seq
where releases.operation = 'realloc_free' and releases.address <> 0 and later.seq is null
