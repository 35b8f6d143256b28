"""
Mappings that the C library, the loader or a runtime makes for itself: by whom, and what for.

The one table of this knowledge; docs/verdicts.md shows it. A mapping belongs to the first row that names one
of the three innermost functions of its stack, mmap() itself left out. The recorder leaves out most of what
glibc maps for itself, see DEVELOPER.md; recordings by `ig` have it.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from gadgetops.questions.asking.stacks_of import Frame


class Owner(NamedTuple):
    """
    Who maps memory, and what for.

    Args:
        name: In words, as it is shown.
        functions: A regular expression for the whole name of a function that maps it.
    """

    name: str
    functions: str


OWNERS: Final = (
    Owner("thread stack (C library)", r"allocate_stack|_*pthread_create.*|pthread_getattr_np"),
    Owner("malloc arena (C library)", r"new_heap|arena_get2?|_int_new_arena|alloc_new_heap|tcache_init"),
    Owner("large block of malloc (C library)", r"sysmalloc(_mmap)?|sysmalloc_mmap_fallback|mremap_chunk"),
    Owner("locale (C library)", r"_nl_load_locale.*|_nl_load_domain|_nl_intern_locale_data"),
    Owner("buffer of a stream (C library)", r"_IO_file_doallocate|_IO_wfile_doallocate"),
    Owner("library or its data (loader)", r"_dl_map_.*|_dl_sysdep_read_whole_file|_dl_load_cache_lookup"),
    Owner("JVM's reservation (Java)", r"os::(reserve|attempt_reserve|commit)_memory.*|anon_mmap.*"),
    Owner("Go runtime", r"runtime\.(sysAlloc|sysReserve|mmap|sysMmap).*"),
    Owner("V8 (JavaScript)", r"v8::base::OS::(Allocate|Reserve).*|v8::.*VirtualMemory.*"),
    Owner("Python's arenas", r"_PyMem_ArenaAlloc|_PyObject_Arena(Mmap|Malloc)|new_arena"),
    Owner("jemalloc", r"(je_|_rjem_)?(pages_map|os_pages_map|extent_alloc_mmap)"),
    Owner("tcmalloc", r"TCMalloc_SystemAlloc|.*MmapSysAllocator::Alloc|.*MmapAligned"),
    Owner("mimalloc", r"_?mi_(unix_mmap|os_.*|prim_alloc)|unix_mmap.*"),
)
"""The table, searched from the top."""

_WRAPPERS: Final = re.compile(r"_*mmap(64)?|_*libc_mmap(64)?")
_NEAREST: Final = 3
_EXPRESSIONS: Final = [(owner.name, re.compile(owner.functions)) for owner in OWNERS]


def owner_of(stack: Sequence[Frame]) -> str | None:
    """Return who made the mapping that *stack*, leaf first, asked for; None if it is the program's own."""
    names = [frame.function for frame in stack if frame.function and not _WRAPPERS.fullmatch(frame.function)]
    nearest = [name.partition("(")[0].partition("@")[0] for name in names[:_NEAREST]]
    return next((owner for owner, found in _EXPRESSIONS if any(map(found.fullmatch, nearest))), None)
