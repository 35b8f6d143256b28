"""What the C and C++ libraries keep is told from what a program leaks, by the functions of a stack."""

from typing import NamedTuple

import pytest

from gadgetops.questions.asking.stacks_of import Frame
from gadgetops.questions.leaks.kept import RESERVE, STREAMS, Kept, kept_for

FOPEN = "malloc __fopen_internal _IO_new_fopen load_settings main"
FWRITE = "malloc __GI__IO_file_doallocate _IO_new_file_xsputn _IO_fwrite write_all main"


class Left(NamedTuple):
    """What one stack left."""

    stack: tuple[Frame, ...]


def kept(*stacks: str) -> list[str | None]:
    """Return what is kept of each of *stacks*, functions leaf first."""
    frames = [
        [Frame(name, None, None, "/lib/libc.so.6", 0, index) for index, name in enumerate(stack.split())]
        for stack in stacks
    ]
    return kept_for([Left(tuple(each)) for each in frames])


@pytest.mark.parametrize(
    "stack",
    [
        "malloc _IO_file_doallocate _IO_doallocbuf _IO_new_file_overflow __printf main",
        "__GI__IO_file_doallocate __GI__IO_doallocbuf _IO_new_file_xsputn _IO_puts main",
        "_IO_file_doallocate _IO_doallocbuf _IO_new_file_underflow getchar main",
        "_IO_file_doallocate vfprintf_internal ___printf_chk report main",
        FWRITE,
    ],
)
def test_the_buffer_of_a_standard_stream_is_kept(stack: str) -> None:
    assert kept(stack) == [STREAMS]


def test_the_buffer_of_a_stream_that_was_not_closed_is_the_programs() -> None:
    """While one is open that the program has opened, and which of them is used is not said."""
    assert kept(FOPEN, FWRITE) == [None, None]


def test_with_another_stream_open_that_of_printf_is_kept_all_the_same() -> None:
    assert kept(FOPEN, "_IO_file_doallocate _IO_doallocbuf __vprintf main") == [None, STREAMS]


@pytest.mark.parametrize(
    ("stack", "what"),
    [
        ("calloc allocate_dtv __GI__dl_allocate_tls allocate_stack pthread_create main", "threads"),
        ("calloc _dl_allocate_tls pthread_create main", "threads"),
        ("malloc tzset_parse_tz tzset_internal __tz_convert localtime main", "time zone"),
        ("malloc _nl_load_locale_from_archive _nl_find_locale setlocale main", "locales"),
    ],
)
def test_what_is_kept_is_named(stack: str, what: str) -> None:
    (found,) = kept(stack)
    assert found is not None
    assert what in found


@pytest.mark.parametrize(
    "stack",
    [
        "malloc __strdup main",
        "malloc getdelim main",
        "malloc _nl_load_locale _nl_find_locale newlocale main",
        "malloc print_all main",
        "malloc",
        "",
    ],
)
def test_what_the_program_asked_for_is_the_programs(stack: str) -> None:
    assert kept(stack) == [None]


@pytest.mark.parametrize(
    ("modules", "what"),
    [
        (["libstdc++.so.6.0.30", "ld.so"], RESERVE),
        (["libc.so.6", "ld.so"], None),
        (["libstdc++.so.6.0.30", "p", "ld.so"], None),
    ],
    ids=["alone", "another library", "called by the program"],
)
def test_the_reserve_of_the_cpp_library_is_kept(modules: list[str], what: str | None) -> None:
    """Which it allocates when it is loaded, by a function without a symbol."""
    names = [*[None] * (len(modules) - 1), "call_init"]
    stack = tuple(
        Frame(name, None, None, f"/lib/{module}", 1, 1) for name, module in zip(names, modules, strict=True)
    )
    assert kept_for([Left(stack)]) == [what]
    assert Kept(RESERVE, 72704, 1).keeper == "the C++ library"
