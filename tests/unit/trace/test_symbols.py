"""Symbols agree with addr2line, on every instruction after a call."""

import subprocess
from pathlib import Path

import pytest

from gadgetops.trace.symbols import Module

SOURCE = """
#include <stdlib.h>
static inline __attribute__((always_inline)) void *inner(int n) { return malloc(n); }
__attribute__((noinline)) void *outer(int n)
{
	void *p = inner(n);
	return p ? p : inner(n + 1);
}
int main(int argc, char **argv)
{
	free(outer(argc));
	return 0;
}
"""


@pytest.fixture(params=[[], ["-no-pie"]], ids=["pie", "no-pie"])
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    source = tmp_path / "program.c"
    source.write_text(SOURCE)
    subprocess.run(["gcc", "-g", "-O1", *request.param, source, "-o", tmp_path / "program"], check=True)
    return tmp_path / "program"


def returns(program: Path) -> list[int]:
    """Addresses after each call in our own functions."""
    listing = subprocess.run(["objdump", "-d", program], check=True, capture_output=True, text=True).stdout
    found, function, after_call = [], "", False
    for line in listing.splitlines():
        if line.endswith(">:"):
            function = line.split("<")[1][:-2]
        elif ":" in line and function in ("outer", "main"):
            if after_call:
                found.append(int(line.split(":")[0], 16))
            after_call = "call" in line
    return found


def file_offset(program: Path, address: int) -> int:
    listing = subprocess.run(["readelf", "-Wl", program], check=True, capture_output=True, text=True).stdout
    for fields in (line.split() for line in listing.splitlines() if line.split()[:1] == ["LOAD"]):
        offset, start, size = (int(fields[i], 16) for i in (1, 2, 4))
        if start <= address < start + size:
            return address - start + offset
    raise AssertionError(hex(address))


def addr2line(program: Path, address: int) -> list[tuple[str, int]]:
    argv = ["addr2line", "-f", "-i", "-e", program, hex(address - 1)]
    lines = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()
    return [
        (name, int(place.rsplit(":", 1)[1].split()[0]))
        for name, place in zip(lines[::2], lines[1::2], strict=True)
    ]


def test_calls_lie_where_addr2line_says_inlined_functions_included(program: Path) -> None:
    module = Module(program)
    addresses = returns(program)
    assert len(addresses) >= 3
    for address in addresses:
        found = module.locate(file_offset(program, address))
        assert [(each.function, each.line) for each in found] == addr2line(program, address)


def test_the_first_instruction_of_a_function_is_that_function(program: Path) -> None:
    listing = subprocess.run(["nm", program], check=True, capture_output=True, text=True).stdout
    address = next(int(line.split()[0], 16) for line in listing.splitlines() if line.endswith(" outer"))
    assert [
        each.function for each in Module(program).locate(file_offset(program, address), is_leaf=True)
    ] == ["outer"]


def test_another_build_of_the_file_is_not_asked(program: Path) -> None:
    module = Module(program, build_id="00" * 20)
    assert not module.locate(file_offset(program, returns(program)[0]))


def test_a_file_that_is_gone_or_no_elf_knows_nothing(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no elf")
    assert Module(tmp_path / "gone").locate(1) == ()
    assert Module(tmp_path / "text").locate(1) == ()
