-- The threads that the calls of a question were made by.
select distinct pid, tid from calls
