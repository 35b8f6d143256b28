"""
Variants: functions that do what one of the malloc family does, but have their arguments in other places.

`mi_heap_malloc(heap, size)` is a malloc() whose size is the second argument. The gadget's program for malloc
is attached to it with an attach cookie that says so (`gadget/call_variants.h`). What begins with the
arguments of the C function needs no cookie, and is seen by every kernel.
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_FIELD_BITS: Final = 4
_FIELDS: Final = ("size", "count", "block")
"""Arguments that a cookie tells the place of, the lowest bits first."""
_USUAL: Final[Mapping[str, str]] = {
    "malloc": "size",
    "free": "block",
    "calloc": "count size",
    "realloc": "block size",
    "posix_memalign": "_ _ size",
    "aligned_alloc": "_ size",
    "memalign": "_ size",
    "valloc": "size",
    "pvalloc": "size",
}
"""Arguments that each of the gadget's programs takes without a cookie."""


class Result(enum.IntEnum):
    """What a variant returns, by the numbers of `gadget/call_variants.h`."""

    ADDRESS = 0
    STRING = 1
    SAME_BLOCK = 2
    BLOCK_SIZE = 3
    ADDRESS_OR_RELEASE = 4
    STATUS = 5
    MAPPING = 6


@dataclass(frozen=True)
class Variant:
    """
    A function that does the same as a C function.

    Attributes:
        name: As its file spells it.
        operation: The C function.
        cookie: Says where its arguments are; 0 if they are where the C function has them.
    """

    name: str
    operation: str
    cookie: int


@dataclass(frozen=True)
class Family:
    """
    Functions that an allocator has beside those of the C library.

    Attributes:
        markers: The allocator is in a file that defines one of these functions.
        prefixes: Of the variants' names, each of which there may be.
        table: A line each: name without prefix, operation, arguments and, after `->`, the `Result`.
    """

    markers: tuple[str, ...]
    prefixes: tuple[str, ...]
    table: str

    def variants(self) -> Iterator[Variant]:
        """Yield the variants under each of the prefixes."""
        for line in self.table.strip().splitlines():
            for prefix in self.prefixes:
                yield parse(line, prefix)


def parse(line: str, prefix: str = "") -> Variant:
    """Return the variant that a line of a table describes (`Family.table`)."""
    description, _, result = line.partition("->")
    name, operation, *arguments = description.split()
    returned = Result[result.strip() or Result.ADDRESS.name]
    usual = _USUAL.get(operation, "").split()
    is_usual = returned == Result.ADDRESS and arguments[: len(usual)] == usual
    return Variant(prefix + name, operation, 0 if is_usual else _cookie(arguments, returned))


def _cookie(arguments: list[str], result: Result) -> int:
    """Return which argument is what, counted from 1, and above that the result."""
    places = [arguments.index(field) + 1 if field in arguments else 0 for field in _FIELDS]
    return sum(place << index * _FIELD_BITS for index, place in enumerate([*places, int(result)]))


LIBRARY: Final = [
    *map(
        parse,
        (
            "mremap mmap block _ size -> MAPPING",
            "free_sized free block",
            "free_aligned_sized free block",
            "reallocarray realloc block count size",
            "reallocarr realloc block count size -> STATUS",
            "reallocf realloc block size -> ADDRESS_OR_RELEASE",
            "vfree free block",
            "_aligned_malloc aligned_alloc size",
        ),
    )
]
"""Under names that the C library or an allocator in its place has: looked up as `malloc` is."""

BY_REALLOC: Final = frozenset({"reallocarray"})
"""Functions that call realloc() in C libraries, where that is seen."""

_JEMALLOC: Final = Family(
    ("mallocx", "je_mallocx", "_rjem_mallocx"),
    ("", "je_", "_rjem_"),
    "xallocx realloc block size -> BLOCK_SIZE",
)
_TCMALLOC: Final = Family(
    ("tc_malloc",),
    ("tc_",),
    """
    malloc_skip_new_handler         malloc  size
    new                             malloc  size
    new_nothrow                     malloc  size
    new_aligned                     malloc  size
    new_aligned_nothrow             malloc  size
    newarray                        malloc  size
    newarray_nothrow                malloc  size
    newarray_aligned                malloc  size
    newarray_aligned_nothrow        malloc  size
    cfree                           free    block
    free_sized                      free    block
    delete                          free    block
    delete_nothrow                  free    block
    delete_sized                    free    block
    delete_aligned                  free    block
    delete_sized_aligned            free    block
    delete_aligned_nothrow          free    block
    deletearray                     free    block
    deletearray_nothrow             free    block
    deletearray_sized               free    block
    deletearray_aligned             free    block
    deletearray_sized_aligned       free    block
    deletearray_aligned_nothrow     free    block
    """,
)
_MIMALLOC: Final = Family(
    ("mi_malloc",),
    ("mi_",),
    """
    malloc_small                    malloc          size
    mallocn                         malloc          count size
    new                             malloc          size
    new_nothrow                     malloc          size
    new_n                           malloc          count size
    new_aligned                     malloc          size
    new_aligned_nothrow             malloc          size
    zalloc                          calloc          size
    zalloc_small                    calloc          size
    malloc_aligned                  aligned_alloc   size
    malloc_aligned_at               aligned_alloc   size
    zalloc_aligned                  aligned_alloc   size
    zalloc_aligned_at               aligned_alloc   size
    calloc_aligned                  aligned_alloc   count size
    calloc_aligned_at               aligned_alloc   count size
    heap_malloc                     malloc          _ size
    heap_malloc_small               malloc          _ size
    heap_mallocn                    malloc          _ count size
    heap_alloc_new                  malloc          _ size
    heap_alloc_new_n                malloc          _ count size
    heap_zalloc                     calloc          _ size
    heap_calloc                     calloc          _ count size
    heap_malloc_aligned             aligned_alloc   _ size
    heap_malloc_aligned_at          aligned_alloc   _ size
    heap_zalloc_aligned             aligned_alloc   _ size
    heap_zalloc_aligned_at          aligned_alloc   _ size
    heap_calloc_aligned             aligned_alloc   _ count size
    heap_calloc_aligned_at          aligned_alloc   _ count size
    strdup                          malloc          _                       -> STRING
    strndup                         malloc          _                       -> STRING
    mbsdup                          malloc          _                       -> STRING
    heap_strdup                     malloc          _                       -> STRING
    heap_strndup                    malloc          _                       -> STRING
    rezalloc                        realloc         block size
    realloc_aligned                 realloc         block size
    realloc_aligned_at              realloc         block size
    rezalloc_aligned                realloc         block size
    rezalloc_aligned_at             realloc         block size
    new_realloc                     realloc         block size
    reallocf                        realloc         block size              -> ADDRESS_OR_RELEASE
    expand                          realloc         block size              -> SAME_BLOCK
    _expand                         realloc         block size              -> SAME_BLOCK
    reallocn                        realloc         block count size
    reallocarray                    realloc         block count size
    reallocarr                      realloc         block count size        -> STATUS
    recalloc                        realloc         block count size
    recalloc_aligned                realloc         block count size
    recalloc_aligned_at             realloc         block count size
    aligned_recalloc                realloc         block count size
    aligned_offset_recalloc         realloc         block count size
    new_reallocn                    realloc         block count size
    heap_realloc                    realloc         _ block size
    heap_rezalloc                   realloc         _ block size
    heap_realloc_aligned            realloc         _ block size
    heap_realloc_aligned_at         realloc         _ block size
    heap_rezalloc_aligned           realloc         _ block size
    heap_rezalloc_aligned_at        realloc         _ block size
    heap_reallocf                   realloc         _ block size            -> ADDRESS_OR_RELEASE
    heap_reallocn                   realloc         _ block count size
    heap_recalloc                   realloc         _ block count size
    heap_recalloc_aligned           realloc         _ block count size
    heap_recalloc_aligned_at        realloc         _ block count size
    cfree                           free            block
    free_size                       free            block
    free_aligned                    free            block
    free_size_aligned               free            block
    """,
)
_TBB: Final = Family(
    ("scalable_malloc",),
    ("",),
    """
    scalable_aligned_malloc         aligned_alloc   size
    scalable_aligned_realloc        realloc         block size
    scalable_aligned_free           free            block
    _ZN3rml11pool_mallocEPNS_10MemoryPoolEm             malloc          _ size
    _ZN3rml19pool_aligned_mallocEPNS_10MemoryPoolEmm    aligned_alloc   _ size
    _ZN3rml12pool_reallocEPNS_10MemoryPoolEPvm          realloc         _ block size
    _ZN3rml20pool_aligned_reallocEPNS_10MemoryPoolEPvmm realloc         _ block size
    _ZN3rml9pool_freeEPNS_10MemoryPoolEPv               free            _ block
    """,
)
_RPMALLOC: Final = Family(
    ("rpmalloc",),
    ("rp",),
    """
    zalloc                          calloc          size
    aligned_calloc                  calloc          _ count size
    aligned_zalloc                  aligned_alloc   _ size
    aligned_realloc                 realloc         block _ size
    """,
)
_SNMALLOC: Final = Family(
    ("sn_rust_alloc",),
    ("sn_rust_",),
    """
    alloc                           aligned_alloc   _ size
    alloc_zeroed                    aligned_alloc   _ size
    realloc                         realloc         block _ _ size
    dealloc                         free            block
    """,
)
_MEMKIND: Final = Family(
    ("hbw_malloc",),
    ("hbw_",),
    """
    malloc                          malloc          size
    calloc                          calloc          count size
    realloc                         realloc         block size
    posix_memalign                  posix_memalign  _ _ size
    posix_memalign_psize            posix_memalign  _ _ size
    free                            free            block
    """,
)
FAMILIES: Final = (_JEMALLOC, _TCMALLOC, _MIMALLOC, _TBB, _RPMALLOC, _SNMALLOC, _MEMKIND)
"""Allocators with variants under names of their own."""
