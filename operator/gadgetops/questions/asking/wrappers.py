"""
Functions that only pass an allocation on: they are on every stack, and never the place to look at.

The one table of these, and a user's own: lines of a file, each a name, with `*` for any text, and comments
that begin with `#`. Frames of such functions stay in the stack. A stack's place is its first other frame.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from gadgetops.errors import StorageError
from gadgetops.questions.asking.stacks_of import Frame

WRAPPERS: Final = {
    "C": (
        "malloc calloc realloc reallocarray free strdup strndup __strdup __strndup __GI___strdup "
        "__GI___strndup asprintf vasprintf "
        "__vasprintf_internal memalign aligned_alloc posix_memalign valloc pvalloc mmap mmap64 __mmap64 "
        "getdelim getline open_memstream"
    ),
    "programs in C": (
        "xmalloc xmallocz xcalloc xrealloc xreallocarray xstrdup xstrndup xmemdup xzalloc zmalloc zcalloc "
        "zrealloc ztrymalloc* ztrycalloc* ztryrealloc* zmalloc_usable zstrdup sdsnewlen _sdsnewlen "
        "ngx_alloc ngx_calloc ngx_memalign ngx_palloc* ngx_pnalloc ngx_pcalloc ngx_create_pool palloc "
        "palloc0 MemoryContextAlloc* AllocSet* pg_malloc* emalloc _emalloc* ecalloc _ecalloc erealloc "
        "_erealloc* sqlite3Malloc* sqlite3MemMalloc sqlite3DbMalloc* CRYPTO_malloc CRYPTO_zalloc "
        "CRYPTO_realloc OPENSSL_malloc mem_alloc mem_calloc talloc_* apr_palloc apr_pcalloc "
        "allocator_alloc"
    ),
    "C++": (
        "operator?new* std::* __gnu_cxx::* _M_allocate *::_M_allocate allocate *::allocate "
        "absl::*::container_internal::* absl::container_internal::* boost::container::* "
        "boost::unordered::detail::* folly::detail::* folly::f14::detail::*"
    ),
    "GLib": (
        "g_malloc* g_realloc* g_try_malloc* g_try_realloc* g_strdup g_strndup g_memdup* g_slice_* g_aligned_*"
    ),
    "Python": (
        "PyMem_* PyObject_Malloc PyObject_Calloc PyObject_Realloc _PyMem_* _PyObject_Malloc "
        "_PyObject_Calloc _PyObject_Realloc _PyObject_New _PyObject_NewVar _PyObject_GC_* "
        "PyType_GenericAlloc _PyType_AllocNoTrack _PyObject_Alloc gc_alloc pymalloc_alloc "
        "new_keys_object new_values"
    ),
    "Rust": (
        "alloc::* core::* std::* hashbrown::* <alloc::* <core::* <std::* <hashbrown::* __rust_alloc* __rdl_* "
        "__rg_* __rust_realloc *as?alloc::slice::hack::* *as?alloc::vec::spec* *as?core::alloc::Allocator* "
        "*::exchange_malloc"
    ),
    "Go, Java, JavaScript": (
        "runtime.mallocgc runtime.newobject runtime.makeslice runtime.growslice _cgo_*_Cfunc__Cmalloc "
        "os::malloc* os::realloc* AllocateHeap* CHeapObj* Arena::Amalloc* Arena::grow* Chunk::operator* "
        "node::Malloc* node::Realloc* v8::internal::Malloced* v8::internal::AllocWithRetry "
        "v8::base::Malloc uv__malloc uv__calloc"
    ),
    "allocators": (
        "je_malloc je_calloc je_realloc je_mallocx je_rallocx _rjem_* tc_malloc* tc_calloc tc_realloc "
        "tc_new* tc_memalign mi_malloc* mi_calloc* mi_zalloc* mi_realloc* mi_new* mi_heap_* _mi_* "
        "do_malloc* tcmalloc::* TCMallocInternal*"
    ),
}
"""Whose -> names, parted by spaces; `*` is any text, `?` any character, such as a space."""


def expression_of(names: Iterable[str]) -> re.Pattern[str]:
    """Return an expression for the whole of any of *names*, in which `*` is any text."""
    patterns = (re.escape(name).replace(r"\*", ".*").replace(r"\?", ".") for name in names)
    return re.compile("|".join(patterns), re.DOTALL)


_ANONYMOUS: Final = "(anonymous namespace)"


class Wrappers:
    """
    The table, and what a user adds.

    Args:
        added: Names in the form of the table.
    """

    def __init__(self, added: Sequence[str] = ()) -> None:
        self._expression = expression_of([*added, *" ".join(WRAPPERS.values()).split()])
        self._is_wrapper = cache(self._matches)

    def place(self, frames: Sequence[Frame]) -> Frame | None:
        """Return the first frame of *frames*, leaf first, that is no wrapper; the leaf if all are."""
        found = (frame for frame in frames if not self.is_wrapper(frame))
        return next(found, frames[0] if frames else None)

    def is_wrapper(self, frame: Frame) -> bool:
        """Return whether *frame* only passes an allocation on."""
        return frame.function is not None and self._is_wrapper(frame.function)

    def _matches(self, function: str) -> bool:
        # Before a parenthesis stands the type that it returns; without one a space is part of the name.
        names = {plain_name(function)} if "(" in function else {plain_name(function), function}
        return any(self._expression.fullmatch(name) for name in names)


def plain_name(function: str) -> str:
    """
    Return the name of *function* alone: no version of the linker's, no type that it returns, no parameters.

    `malloc@plt` is malloc, `node* std::tree<int>::make<int>(int&&)` is std::tree<int>::make<int>.
    """
    text = function.partition("@")[0]
    start = depth = 0
    for place, character in enumerate(text):
        if text.startswith("operator", place) and not depth:
            return text[start:]
        if character in "<([{":
            if character == "(" and not depth and not text.startswith(_ANONYMOUS, place):
                return text[start:place]
            depth += 1
        elif character in ")]}" or (character == ">" and text[place - 1 : place] != "-"):
            depth -= 1
        elif character == " " and not depth:
            start = place + 1
    return text[start:]


_in_use = [Wrappers()]


def wrappers() -> Wrappers:
    """Return the table in use."""
    return _in_use[0]


def use(added: Sequence[str]) -> None:
    """Use the table with *added* names from here on; set once by the verb's option."""
    _in_use[0] = Wrappers(added)


def read_wrappers(path: Path) -> tuple[str, ...]:
    """
    Return the names that a file has, one a line.

    Raises:
        StorageError: It cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise StorageError.from_os_error(error, path) from error
    stripped = (line.strip().replace(" ", "?") for line in lines)
    return tuple(line for line in stripped if line and not line.startswith("#"))
