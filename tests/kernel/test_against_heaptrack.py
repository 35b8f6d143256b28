"""Other tools as witnesses: heaptrack, of programs that nobody here wrote; valgrind, of planted leaks."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

pytestmark = pytest.mark.kernel

TIMEOUT_S = 120
# heaptrack preloads a library, and counts what that makes the program's start allocate: a shell reads its
# variables, and heaptrack sets some. The largest is the pool that libstdc++ keeps for exceptions.
START_UP_CALLS = 30
START_UP_BYTES = 72_704 + 4096
# Peak and leaks are printed with three digits.
ROUNDING = 0.006
CALLS = "calls to allocation functions"
PEAK = "peak heap memory consumption"
LEAKED = "total memory leaked"
UNITS = {"B": 1, "K": 1e3, "M": 1e6, "G": 1e9}

PROGRAMS = {
    "perl": 'my %h; $h{$_} = "x" x ($_ % 97) for 1..20000; print scalar keys %h',
    "bash": 'for i in {1..2000}; do a="$a$i"; b[i]=$i; done; echo ${#a}',
    "sqlite3": "create table t(a);"
    " with recursive n(i) as (select 1 union all select i + 1 from n limit 20000)"
    " insert into t select hex(zeroblob(i % 200)) from n; select count(distinct a) from t;",
}
COMMANDS = {
    "perl": ["perl", "-e", PROGRAMS["perl"]],
    "bash": ["bash", "--norc", "-c", PROGRAMS["bash"]],
    "sqlite3": ["sqlite3", ":memory:", PROGRAMS["sqlite3"]],
}

# Every seventh block is lost; those that are kept are not lost, and the others are released.
PLANTED = """
#include <stdlib.h>
static void *kept[10];
static __attribute__((noinline)) void *take(size_t size, int how)
{
	return how == 0 ? malloc(size) : how == 1 ? calloc(3, size) : realloc(malloc(8), size);
}
int main(void)
{
	for (int i = 1; i <= 700; i++) {
		void *volatile block = take(i, i % 3);
		if (i % 7)
			free(block);
		block = NULL;
	}
	for (int i = 0; i < 10; i++)
		kept[i] = malloc(1000);
	for (int i = 0; i < 10; i++)
		free(kept[i]);
	return 0;
}
"""


def needed(program: str) -> str:
    found = shutil.which(program)
    assert found is not None, f"{program} is not installed"
    return found


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Where the recording goes."""
    return tmp_path / "r.gadgetrec"


def record(gadget: Path, recording: Path, command: list[str]) -> None:
    options = ["--unwind", "fp", "--symbols", "late", "--image", str(gadget)]
    argv = [sys.executable, "-m", "gadgetops", "record", "-q", "-o", str(recording), *options, "--", *command]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr


def asked(verb: str, recording: Path) -> dict[str, float]:
    argv = [sys.executable, "-m", "gadgetops", verb, str(recording), "--format", "json"]
    document: dict[str, float] = json.loads(subprocess.check_output(argv, timeout=TIMEOUT_S))
    return document


def totals(recording: Path) -> dict[str, float]:
    """Return the same of a recording of one process; heaptrack does not see mmap()."""
    rows = duckdb.sql(f"""
        select operation, address, size_bytes from read_parquet('{recording}/events-*.parquet')
        where operation not in ('mmap', 'munmap') and address <> 0
        order by seq
    """).fetchall()
    live: dict[int, int] = {}
    n_calls = live_bytes = peak_bytes = 0
    for operation, address, size in rows:
        if operation in ("free", "realloc_free"):
            live_bytes -= live.pop(address, 0)
        else:
            live[address] = size
            n_calls, live_bytes = n_calls + 1, live_bytes + size
            peak_bytes = max(peak_bytes, live_bytes)
    return {CALLS: n_calls, PEAK: peak_bytes, LEAKED: live_bytes}


def heaptrack(folder: Path, command: list[str]) -> dict[str, float]:
    """Return what heaptrack's summary says, by its first words."""
    subprocess.run(
        [needed("heaptrack"), "-o", folder / "ht", *command],
        capture_output=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    [data] = folder.glob("ht*")
    summary = ["-p", "0", "-a", "0", "-T", "0", "-l", "0"]
    printed = subprocess.check_output(
        [needed("heaptrack_print"), "-f", data, *summary], text=True, timeout=TIMEOUT_S
    )
    found = re.findall(
        rf"^({CALLS}|{PEAK}|{LEAKED}): ([\d.]+)([BKMG]?)",
        printed,
        re.MULTILINE,
    )
    return {name: float(number) * UNITS[unit or "B"] for name, number, unit in found}


@pytest.mark.parametrize("name", COMMANDS)
def test_of_a_program_of_the_system_heaptrack_counts_the_same(
    gadget_object: Path, recording: Path, tmp_path: Path, name: str
) -> None:
    """Allocations, and bytes at the peak and at the end, but for the start; no event is lost."""
    command = [needed(COMMANDS[name][0]), *COMMANDS[name][1:]]
    theirs = heaptrack(tmp_path, command)
    record(gadget_object, recording, command)
    assert json.loads((recording / "recording.json").read_text())["counters"]["lost"] == 0
    ours = totals(recording)
    assert theirs[CALLS] > 5000
    assert abs(ours[CALLS] - theirs[CALLS]) <= START_UP_CALLS
    for name in (PEAK, LEAKED):
        assert abs(ours[name] - theirs[name]) <= ROUNDING * theirs[name] + START_UP_BYTES


def test_of_planted_leaks_valgrind_finds_the_same(
    gadget_object: Path, recording: Path, tmp_path: Path
) -> None:
    """Bytes and blocks, each exactly."""
    (tmp_path / "planted.c").write_text(PLANTED)
    program = tmp_path / "planted"
    subprocess.run(["gcc", "-g", "-O1", "-fno-builtin", tmp_path / "planted.c", "-o", program], check=True)
    argv = [needed("valgrind"), "--leak-check=full", str(program)]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=True).stderr
    lost = re.search(r"definitely lost: ([\d,]+) bytes in ([\d,]+) blocks", said)
    assert lost is not None, said
    n_bytes, n_blocks = (int(number.replace(",", "")) for number in lost.groups())
    record(gadget_object, recording, [str(program)])
    answer = asked("leaks", recording)
    assert (answer["live_bytes"], answer["live_count"]) == (n_bytes, n_blocks)
    assert n_blocks == 100
