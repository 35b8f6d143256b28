"""Programs of the distribution, built without frame pointers: their leaks' call paths are heaptrack's."""

import collections
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from gadgetops.questions.leaks.leaks import leaks
from gadgetops.recording.reader import open_recording

pytestmark = pytest.mark.kernel

SCRIPTS = {
    "perl": "my @kept; for my $i (1..500) { push @kept, { a => [$i, 'x' x 200] }; }",
    "python3.11": "kept = [{'a': [i, str(i) * 20]} for i in range(500)]; import os; os._exit(0)",
    "sqlite3": "create table t(a); insert into t values (randomblob(9000)); select count(*) from t a, t b;",
}
COMMANDS = {"perl": ["-e"], "python3.11": ["-S", "-c"], "sqlite3": [":memory:"]}
ENVIRONMENT = {"PERL_HASH_SEED": "0", "PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"}
OWN = {"perl": r"Perl_|perl_|main$", "python3.11": "_?Py", "sqlite3": "sqlite3|main$"}
"""Functions of the program itself: the C library is named by debug files, which not every machine has."""

Paths = collections.Counter[tuple[str, ...]]


def command(program: str) -> list[str]:
    found = shutil.which(program, path="/usr/bin")
    assert found is not None, f"{program} is not installed"
    return [found, *COMMANDS[program], SCRIPTS[program]]


def own(program: str, functions: Iterable[str]) -> tuple[str, ...]:
    """Functions of the program, root first."""
    return tuple(each.split(" (")[0] for each in functions if re.match(OWN[program], each))


def as_heaptrack_sees(program: str, folder: Path) -> Paths:
    """Bytes leaked by call path."""
    environment = os.environ | ENVIRONMENT
    run = ["heaptrack", "-o", str(folder / "ht"), *command(program)]
    subprocess.run(run, check=True, capture_output=True, env=environment, timeout=120)
    [data] = folder.glob("ht*")
    folded = folder / "folded"
    printed = ["heaptrack_print", "-f", str(data), "-F", str(folded), "--flamegraph-cost-type", "leaked"]
    subprocess.run([*printed, "-p0", "-a0", "-T0", "-l0"], check=True, capture_output=True, timeout=120)
    paths: Paths = collections.Counter()
    for line in folded.read_text().splitlines():
        path, _, size = line.rpartition(" ")
        paths[own(program, path.split(";"))] += int(size)
    return paths


def as_recorded(program: str, gadget_object: Path, folder: Path) -> Paths:
    recording = folder / "r.gadgetrec"
    argv = ["record", "-q", "-o", str(recording), "--image", str(gadget_object), "--", *command(program)]
    environment = os.environ | ENVIRONMENT
    subprocess.run([sys.executable, "-m", "gadgetops", *argv], check=True, env=environment, timeout=120)
    opened = open_recording(recording)
    assert opened.counters["lost"] == 0
    assert opened.counters["unwound_complete"] >= 0.99 * opened.counters["slices"]
    paths: Paths = collections.Counter()
    for leak in leaks(opened).leaks:
        paths[own(program, [frame.function or "" for frame in reversed(leak.stack)])] += leak.live_bytes
    return paths


@pytest.mark.parametrize("program", [*SCRIPTS])
def test_leaks_have_the_call_paths_that_heaptrack_sees(
    program: str, gadget_object: Path, tmp_path: Path
) -> None:
    """
    Function by function, for at least 95 % of the bytes that heaptrack sees leak.

    It has a block of libstdc++ besides, in no function of the program, and we have mappings.
    """
    expected = as_heaptrack_sees(program, tmp_path)
    recorded = as_recorded(program, gadget_object, tmp_path)
    del expected[()]
    both = sum((expected & recorded).values())
    assert both >= 0.95 * sum(expected.values()), (expected - recorded).most_common(5)


GIT = "/usr/bin/git"


def git_log(folder: Path) -> list[str]:
    """A history of three commits, shown where nothing is placed at random: addresses can be compared."""
    author = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    for arguments in (["init", "-q"], *[["commit", "-q", "--allow-empty", "-m", str(n)] for n in range(3)]):
        subprocess.run([GIT, "-C", str(folder), *author, *arguments], check=True)
    return ["setarch", "-R", GIT, "-C", str(folder), "log", "--stat"]


def heaptrack_addresses(data: Path) -> Paths:
    """Bytes leaked by the addresses in git, root first, which only heaptrack's own file has."""
    text = subprocess.run(["zstdcat", str(data)], check=True, capture_output=True, text=True).stdout
    rows: dict[str, list[list[str]]] = collections.defaultdict(list)
    for line in filter(None, text.splitlines()):
        kind, *fields = line.split()
        rows[kind].append(fields)
    modules = [" ".join(fields[1:]) for fields in rows["s"]]
    places = [(int(fields[0], 16), modules[int(fields[1], 16) - 1]) for fields in rows["i"]]
    traces: list[tuple[str, ...]] = [()]
    for place, parent in ((int(a, 16), int(b, 16)) for a, b in rows["t"]):
        address, module = places[place - 1]
        traces.append((*traces[parent], f"{address:x}") if module == GIT else traces[parent])
    live = collections.Counter(fields[0] for fields in rows["+"])
    live.subtract(fields[0] for fields in rows["-"])
    paths: Paths = collections.Counter()
    for number, (size, trace) in enumerate(rows["a"]):
        paths[traces[int(trace, 16)]] += int(size, 16) * live[f"{number:x}"]
    return +paths


def test_leaks_of_git_have_the_addresses_that_heaptrack_sees(gadget_object: Path, tmp_path: Path) -> None:
    """Debian's git has no names to compare."""
    command = git_log(tmp_path)
    heaptrack = [*command[:2], "heaptrack", "-o", str(tmp_path / "ht"), *command[2:]]
    subprocess.run(heaptrack, check=True, capture_output=True, timeout=120)
    [data] = tmp_path.glob("ht*")
    expected = heaptrack_addresses(data)
    recording = tmp_path / "r.gadgetrec"
    argv = ["record", "-q", "-o", str(recording), "--image", str(gadget_object), "--", *command]
    subprocess.run([sys.executable, "-m", "gadgetops", *argv], check=True, stdout=subprocess.DEVNULL)
    paths: Paths = collections.Counter()
    for leak in leaks(open_recording(recording)).leaks:
        # Where heaptrack has calls, we have where they return to.
        addresses = [frame.address - 1 for frame in reversed(leak.stack) if frame.module == GIT]
        paths[tuple(f"{address:x}" for address in addresses)] += leak.live_bytes
    del expected[()]
    both = sum((expected & paths).values())
    assert len(expected) > 20
    assert both >= 0.95 * sum(expected.values()), (expected - paths).most_common(5)
