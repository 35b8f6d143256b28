"""
What the C and C++ libraries allocate for themselves and keep until the process ends: no leak of the program.

It is known by the functions of glibc that allocate it. What they keep is never given back, or only under a
memory checker (`__libc_freeres`): a program can do nothing about it. musl keeps such things in static memory.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import dropwhile
from typing import Final, NamedTuple, Protocol

from gadgetops.questions.asking.stacks_of import Frame

STREAMS: Final = "buffers of standard streams"
RESERVE: Final = "its reserve for exceptions"
"""libstdc++ allocates it when it is loaded, and throws from it when nothing else is left."""
_CPP_LIBRARY: Final = re.compile(r".*/libstdc\+\+\.so.*")
_LOADS: Final = frozenset({"call_init", "_dl_init", "_dl_start_user"})
_SPELLED: Final = re.compile(
    r"_*(?:GI_+)?(?:IO_)?(?:new_)?(?:isoc\d+_)?(.*?)(?:_chk|_unlocked|64)?(?:_alias_\d+)?"
)
"""glibc's names for a function within itself, around the one that programs know it by."""
_BUFFER: Final = "file_doallocate"
"""Allocates the buffer of any stream when it is first used."""
_OF_STANDARD_STREAMS: Final = frozenset(
    {
        "printf",
        "vprintf",
        "wprintf",
        "vwprintf",
        "puts",
        "putchar",
        "putwchar",
        "perror",
        "psignal",
        "psiginfo",
    }
    | {"scanf", "vscanf", "wscanf", "vwscanf", "gets", "getchar", "getwchar"}
)
"""Functions that use a standard stream, and no other."""
_OPENERS: Final = frozenset(
    {"fopen", "fopen_internal", "fdopen", "popen", "proc_open", "tmpfile", "fmemopen", "open_memstream"}
    | {"fopencookie"}
)
"""Functions that make a stream, whose buffer is the program's to close."""
_KINDS: Final = {
    "tables and variables of threads": (
        "dl_allocate_tls allocate_dtv allocate_dtv_entry allocate_and_init dl_resize_dtv dl_update_slotinfo "
        "tls_get_addr_tail dl_tls_allocate_begin"
    ),
    "the time zone": "tzset_internal tzfile_read tzstring_len tzstring tzset_parse_tz",
    "locales": "nl_load_locale nl_load_locale_from_archive nl_intern_locale_data new_composite_name",
    "character sets": "gconv_load_conf gconv_load_cache wcsmbs_load_conv gconv_lookup_cache",
    "name services": "nss_database_get nss_load_library nss_module_allocate nss_action_allocate",
    "functions to call at exit": "new_exitfn",
}
"""What it is -> functions that allocate it."""
_BY_FUNCTION: Final = {name: what for what, names in _KINDS.items() for name in names.split()}
_FOR_THE_PROGRAM: Final = frozenset({"newlocale", "duplocale", "iconv_open"})
"""Functions by which a program asks for such a thing, and is to give it back."""
_MOST_FRAMES: Final = 24
"""So many from the leaf on may be the C library's."""


class Stack(Protocol):
    """Something with a stack, as a leak."""

    @property
    def stack(self) -> tuple[Frame, ...]:
        """Frames leaf first."""


class Kept(NamedTuple):
    """
    Memory that the C or the C++ library keeps.

    Args:
        what: What it is, in words.
        live_bytes: How much.
        live_count: In so many allocations.
    """

    what: str
    live_bytes: int
    live_count: int

    @property
    def keeper(self) -> str:
        """Who keeps it."""
        return "the C++ library" if self.what == RESERVE else "the C library"


def kept_for(stacks: Sequence[Stack]) -> list[str | None]:
    """
    Return what the C library keeps of what each of *stacks* left; None for what is the program's.

    Args:
        stacks: All of a recording: a buffer may belong to any open stream as long as one is left that the
            program has opened.
    """
    names = [[*_names(each.stack)] for each in stacks]
    has_streams = any(not _OPENERS.isdisjoint(found) for found in names)
    return [
        RESERVE if _is_reserve(each.stack) else _what_is_kept(found, has_streams=has_streams)
        for each, found in zip(stacks, names, strict=True)
    ]


def _is_reserve(stack: Sequence[Frame]) -> bool:
    """Whether the C++ library allocated it while it was loaded, and nobody else has a part in it."""
    callers = [*dropwhile(_is_cpp_library, stack)]
    own = stack[: len(stack) - len(callers)]
    return bool(own and callers) and callers[0].function in _LOADS


def _is_cpp_library(frame: Frame) -> bool:
    return _CPP_LIBRARY.fullmatch(frame.module or "") is not None


def _what_is_kept(names: Sequence[str], *, has_streams: bool) -> str | None:
    if _BUFFER in names:
        is_standard = not has_streams or not _OF_STANDARD_STREAMS.isdisjoint(names)
        return STREAMS if is_standard else None
    if not _FOR_THE_PROGRAM.isdisjoint(names):
        return None
    return next((_BY_FUNCTION[name] for name in names if name in _BY_FUNCTION), None)


def _names(frames: Iterable[Frame]) -> Iterable[str]:
    """Yield the functions of the frames that may be the C library's, as programs know them."""
    for frame in [*frames][:_MOST_FRAMES]:
        spelled = _SPELLED.fullmatch(frame.function or "")
        if spelled:
            yield spelled[1]
