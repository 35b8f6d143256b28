"""Functions that have their arguments in other places than the C library's: one event each, exactly."""

import subprocess
from pathlib import Path

import pytest

from gadgetops.trace.kernel.features import attach_way

pytestmark = [pytest.mark.kernel, pytest.mark.clang]

PAGE = 4096


def _library(name: str) -> str:
    """The path of an allocator's library."""
    found = subprocess.check_output(["gcc", f"-print-file-name={name}"], text=True).strip()
    assert Path(found).is_absolute(), f"{name} is not installed"
    return found


def _by_program(recording):
    """The calls that the program made itself; of libraries that begin before it there may be others."""
    known = {*recording.known_calls}
    addresses = {call.address for call in known if call.address}
    return [call for call in recording.calls if call in known or call.address in addresses]


needs_cookies = pytest.mark.skipif(
    not attach_way().has_cookies, reason="this kernel has no attach cookies (Linux 5.15)"
)


@needs_cookies
@pytest.mark.parametrize(
    ("workload", "library"),
    [("mimalloc_family", "libmimalloc.so.2"), ("jemalloc_family", "libjemalloc.so.2")],
)
def test_an_allocators_own_functions(record, workload, library):
    """Blocks of heaps, of elements, aligned, of strings; changed in place or refused; one event each."""
    recording = record(workload, compiler=f"gcc -Wl,--no-as-needed {_library(library)}")
    assert recording.known_calls == _by_program(recording)
    assert recording.header["counters"]["lost"] == 0


@needs_cookies
@pytest.mark.parametrize("compiler", ["gcc", "gcc -static", "musl-gcc"])
def test_mremap(record, compiler):
    """It gives a mapping and gives one back, or a part; where it is refused, nothing is given back."""
    recording = record("remappings", compiler=compiler)
    assert recording.known_calls == _by_program(recording)
