-- The stacks that the calls of a question have.
select distinct stack_id from calls
