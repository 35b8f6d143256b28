"""
The operations that events are of: the one list, and what each is.

SQL sees it as the view `operations`; the gadget's `enum memop` is compared with it by a test.
"""

from typing import Final, NamedTuple


class Operation(NamedTuple):
    """
    One kind of call.

    Attributes:
        name: As recordings have it.
        is_release: It gives memory back, and else takes it.
        is_mapping: Of pages, not of a block of the heap.
        n_arguments: Of the C function of that name; None if there is none.
    """

    name: str
    is_release: bool = False
    is_mapping: bool = False
    n_arguments: int | None = None


OPERATIONS: Final = (
    Operation("malloc", n_arguments=1),
    Operation("free", is_release=True, n_arguments=1),
    Operation("calloc", n_arguments=2),
    Operation("realloc", n_arguments=2),
    Operation("realloc_free", is_release=True),
    Operation("mmap", is_mapping=True, n_arguments=6),
    Operation("munmap", is_release=True, is_mapping=True, n_arguments=2),
    Operation("posix_memalign", n_arguments=3),
    Operation("aligned_alloc", n_arguments=2),
    Operation("valloc", n_arguments=1),
    Operation("memalign", n_arguments=2),
    Operation("pvalloc", n_arguments=1),
)
"""By their number in the gadget. New ones are appended: recordings of gadgets keep numbers."""

NAMES: Final = tuple(each.name for each in OPERATIONS)
"""Their names, by their number."""
RELEASES: Final = frozenset(each.name for each in OPERATIONS if each.is_release)
"""Those that give memory back."""

VIEW: Final = "create temp view operations as " + " union all ".join(
    f"select '{each.name}' as operation, {str(each.is_release).lower()} as is_release, "
    f"{str(each.is_mapping).lower()} as is_mapping"
    for each in OPERATIONS
)
"""The statement that creates the view `operations`, for DuckDB and for Spark."""
