"""Functions that have their arguments in other places than the C library's: one event each, exactly."""

import json
import subprocess
import sys
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
    [
        ("mimalloc_family", "libmimalloc.so.2"),
        ("jemalloc_family", "libjemalloc.so.2"),
        ("tbb_family", "libtbbmalloc.so.2"),
        ("memkind_family", "libmemkind.so.0"),
    ],
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


WITHOUT_COOKIES = """
import dataclasses, sys
from gadgetops.trace.kernel import features
way = dataclasses.replace(features.attach_way(), has_cookies=False)
features.attach_way = lambda: way
from gadgetops.commands import main
sys.exit(main(sys.argv[1:]))
"""


def test_without_cookies_it_is_said_what_is_not_seen(gadget_object, compiled, tmp_path):
    """Of a program that imports mremap(), and of no other; all else is recorded."""
    folders = {}
    for workload in ("remappings", "mappings"):
        folders[workload] = folder = tmp_path / f"{workload}.gadgetrec"
        argv = [
            "record",
            "-o",
            folder,
            "--image",
            gadget_object,
            "--",
            compiled(workload),
            tmp_path / "truth",
        ]
        command = [sys.executable, "-c", WITHOUT_COOKIES, *map(str, argv)]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        is_said = "calls of mremap are not seen: the kernel has no attach cookies" in result.stderr
        assert is_said == (workload == "remappings")
    headers = {name: json.loads((path / "recording.json").read_text()) for name, path in folders.items()}
    assert [*headers["remappings"]["target"]["left_out"].values()] == [["mremap"]]
    assert headers["mappings"]["target"]["left_out"] == {}
    assert headers["mappings"]["counters"]["events"] == 6
