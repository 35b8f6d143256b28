-- Every stack, frames leaf first.
select stack_id, frame_ids from stacks
