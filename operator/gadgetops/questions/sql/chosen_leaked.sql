-- What the program never released of what the filters chose; as `leaked`, of which it is a part.
select pid, operation, size_bytes, parts_bytes from chosen where is_left
