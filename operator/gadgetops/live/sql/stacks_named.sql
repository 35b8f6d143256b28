-- The frames of the stacks $ids, leaf first.
select stack_id, frame_ids from stacks where stack_id in (select unnest(cast($ids as bigint[])))
