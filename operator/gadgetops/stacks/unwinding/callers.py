"""The caller that a walk by frame pointers misses at a function's first instructions."""


def with_caller(found: list[int], caller: int) -> list[int]:
    """Return the stack *found*, leaf first, *caller* after the leaf unless it is one of the first two."""
    return found if caller == 0 or caller in found[:2] else [*found[:1], caller, *found[1:]]
