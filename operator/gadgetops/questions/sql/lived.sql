-- How long each of the chosen allocations lived that the program released; and the same rounded down, to between five
-- and eight binary digits. Those that ended with their process, or whose release was not seen, have no lifetime.
select
    group_id,
    lifetime_ns,
    lifetime_ns - lifetime_ns % case
        when lifetime_ns < 256 then 1
        when lifetime_ns < 4096 then 16
        when lifetime_ns < 65536 then 256
        when lifetime_ns < 1048576 then 4096
        when lifetime_ns < 16777216 then 65536
        when lifetime_ns < 268435456 then 1048576
        when lifetime_ns < 4294967296 then 16777216
        when lifetime_ns < 68719476736 then 268435456
        when lifetime_ns < 1099511627776 then 4294967296
        when lifetime_ns < 17592186044416 then 68719476736
        when lifetime_ns < 281474976710656 then 1099511627776
        else 17592186044416
    end as rounded_ns
from (
    select group_id, greatest(released_ns - timestamp_ns, 0) as lifetime_ns
    from chosen
    where released_seq is not null and released_operation <> 'lost'
) as lifetimes
