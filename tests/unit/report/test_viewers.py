"""Each format is opened by the program that it is for, which then shows our sums."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.profiles.v1development import profiles_pb2
from services import viewers
from services.planted import write_planted
from services.synthetic import write_synthetic

from gadgetops.questions.asking.question import NOTHING, Amount
from gadgetops.questions.peak import peak
from gadgetops.questions.temporary import temporary
from gadgetops.questions.timeline import timeline
from gadgetops.questions.top import totals
from gadgetops.recording.reader import open_recording
from gadgetops.report.exports.formats import FORMATS

Gadgetops = Callable[..., Any]
DEMO = Path(__file__).parents[2] / "data" / "demo.gadgetrec"


@pytest.fixture(scope="module", params=["demo", "synthetic"])
def recording(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded program's, and one of four threads with many stacks."""
    if request.param == "demo":
        return DEMO
    return write_synthetic(tmp_path_factory.mktemp("synthetic") / "r.gadgetrec", 3000)


@pytest.fixture
def mappings(write_recording: Callable[..., Path]) -> Path:
    """A mapping of which a part is released, a block that is released, one that is not."""
    return write_recording(
        [
            ("mmap", 0x10000, 16384, 1),
            ("malloc", 0x10, 100, 2),
            ("munmap", 0x11000, 4096, 1),
            ("free", 0x10, 0, 2),
            ("malloc", 0x10, 7, 3),
        ]
    )


def sums(recording: Path) -> tuple[Amount, Amount]:
    """Return what was allocated, and what was not released."""
    _, found = totals(open_recording(recording))
    return sum((each.allocated for each in found), NOTHING), sum((each.live for each in found), NOTHING)


def in_heaptrack(size_bytes: int) -> str:
    """Return *size_bytes* as heaptrack prints it."""
    value, units = float(size_bytes), iter("BKMGT")
    unit = next(units)
    while value >= 1000:
        value, unit = value / 1000, next(units)
    return f"{size_bytes}B" if unit == "B" else f"{value:.2f}{unit}"


@pytest.mark.parametrize("name", ["p.heaptrack", "p.heaptrack.gz"])
def test_heaptrack_has_the_same_calls_peak_and_leaks(
    name: str, recording: Path, tmp_path: Path, gadgetops: Gadgetops
) -> None:
    """Plain and compressed."""
    gadgetops("convert", recording, "--to", "heaptrack", "-o", tmp_path / name)
    allocated, live = sums(recording)
    highest = peak(open_recording(recording), group_by=None).live.size_bytes
    expected = (allocated.count, in_heaptrack(highest), in_heaptrack(live.size_bytes))
    assert viewers.heaptrack(tmp_path / name) == expected


def test_massif_has_the_same_peak_and_end(recording: Path, tmp_path: Path, gadgetops: Gadgetops) -> None:
    """In the table of `ms_print`, and in the trees of both moments."""
    gadgetops("convert", recording, "--to", "massif", "-o", tmp_path / "massif.out")
    printed = viewers.run(viewers.needed("ms_print"), tmp_path / "massif.out")
    snapshots = re.findall(r"^ *\d+ +[\d,]+ +([\d,]+) +([\d,]+) +0 +0$", printed, re.MULTILINE)
    totals_shown = [int(total.replace(",", "")) for total, _ in snapshots]
    highest = peak(open_recording(recording), group_by=None).live.size_bytes
    live = sums(recording)[1].size_bytes
    assert (len(snapshots), max(totals_shown), totals_shown[-1]) == (102, highest, live)
    trees = re.findall(r"^100.00% \(([\d,]+)B\) \(heap allocation functions\)", printed, re.MULTILINE)
    assert [int(size.replace(",", "")) for size in trees] == [highest, live]


def test_heaptrack_has_resident_memory(tmp_path: Path, gadgetops: Gadgetops) -> None:
    """The most that was measured."""
    recording = write_planted(tmp_path / "r.gadgetrec")
    gadgetops("convert", recording, "--to", "heaptrack", "-o", tmp_path / "p")
    most = max(each or 0 for each in timeline(open_recording(recording)).resident_bytes or ())
    printed = viewers.run(viewers.needed("heaptrack_print"), tmp_path / "p")
    assert f"peak RSS (including heaptrack overhead): {in_heaptrack(most // 4096 * 4096)}\n" in printed


def test_heaptracks_window_shows_what_it_prints(tmp_path: Path, gadgetops: Gadgetops) -> None:
    """Read from the picture of its window, as a person does."""
    gadgetops("convert", DEMO, "--to", "heaptrack", "-o", tmp_path / "p.gz")
    assert viewers.heaptrack(tmp_path / "p.gz") == (3090, "145.08K", "140.96K")
    shown = viewers.heaptrack_window(tmp_path / "p.gz", tmp_path, until="141.0kB")
    assert all(figure in shown for figure in ("3,090", "145.1kB after", "141.0kB", "remember")), shown


def test_heaptrack_sees_parts_of_a_mapping_go(mappings: Path, tmp_path: Path, gadgetops: Gadgetops) -> None:
    """As so many allocations: bytes are right at every moment."""
    gadgetops("convert", mappings, "--to", "heaptrack", "-o", tmp_path / "p")
    assert viewers.heaptrack(tmp_path / "p") == (4, in_heaptrack(16484), in_heaptrack(12295))


def test_heaptrack_names_functions_files_lines_and_inlined_ones(
    mappings: Path, tmp_path: Path, gadgetops: Gadgetops
) -> None:
    """The innermost first."""
    gadgetops("convert", mappings, "--to", "heaptrack", "-o", tmp_path / "p")
    printed = viewers.run(viewers.needed("heaptrack_print"), "--print-leaks", "1", tmp_path / "p")
    assert all(part in printed for part in ("inner", "outer", "a.c:5", "a.c:9", "/bin/program")), printed


@pytest.fixture(scope="module")
def firefox(tmp_path_factory: pytest.TempPathFactory) -> viewers.FirefoxProfiler:
    """The Firefox Profiler, from npm."""
    package = viewers.npm_package(viewers.FIREFOX_PROFILER, tmp_path_factory.mktemp("firefox"))
    return viewers.FirefoxProfiler(package, tmp_path_factory.mktemp("home"))


def test_firefox_profiler_retains_what_leaks(
    recording: Path, tmp_path: Path, firefox: viewers.FirefoxProfiler, gadgetops: Gadgetops
) -> None:
    """It matches releases with allocations itself; and its counter rises as high as the peak."""
    gadgetops("convert", recording, "--to", "firefox", "-o", tmp_path / "p.json.gz")
    allocated, live = sums(recording)
    with firefox.loaded(tmp_path / "p.json.gz") as opened:
        retained = opened.bytes_of("native-retained-allocations")
        assert sum(retained.values()) == live.size_bytes
        assert sum(opened.bytes_of("native-allocations").values()) == allocated.size_bytes
        released = sum(opened.bytes_of("native-deallocations-memory").values())
        assert abs(released) == allocated.size_bytes - live.size_bytes
        [counter] = opened.counters()
    if recording == DEMO:
        assert {name: size for name, size in retained.items() if size} == {
            "demo!remember": 100_000,
            "demo!parse_request": 40_960,
        }
    assert (counter["label"], counter["unit"]) == ("Memory", "bytes")


def test_firefox_profiler_retains_the_rest_of_a_mapping(
    mappings: Path, tmp_path: Path, firefox: viewers.FirefoxProfiler, gadgetops: Gadgetops
) -> None:
    """By function, inlined ones too."""
    gadgetops("convert", mappings, "--to", "firefox", "-o", tmp_path / "p.json")
    with firefox.loaded(tmp_path / "p.json") as opened:
        retained = opened.bytes_of("native-retained-allocations")
    assert sum(retained.values()) == 16384 - 4096 + 7
    assert retained["program!inner"] == 16384 - 4096 + 7
    assert retained["program!outer"] == 0


def test_speedscope_shows_every_measure(recording: Path, tmp_path: Path, gadgetops: Gadgetops) -> None:
    """Its page, in a browser, says the sum of each profile."""
    gadgetops("convert", recording, "--to", "speedscope", "-o", tmp_path / "p.json")
    package = viewers.npm_package(viewers.SPEEDSCOPE, tmp_path / "npm")
    shown = viewers.speedscope_profiles(package, tmp_path / "p.json", tmp_path)
    allocated, live = sums(recording)
    opened = open_recording(recording)
    assert {name: text for name, text in shown.items() if name.endswith("(allocations)")} == {
        f"{name} (allocations)": f"{count:,}"
        for name, count in (
            ("not released", live.count),
            ("allocated", allocated.count),
            ("live at the peak", peak(opened).live.count),
            ("temporary", temporary(opened).temporary.count),
        )
    }
    assert len(shown) == 8


def test_pprof_names_the_program_and_its_build_id(tmp_path: Path, gadgetops: Gadgetops) -> None:
    """In its first lines, as of a profile of Go's own."""
    viewers.needed("go")
    gadgetops("convert", DEMO, "--to", "pprof", "-o", tmp_path / "p")
    lines = viewers.run("go", "tool", "pprof", "-top", tmp_path / "p").splitlines()
    assert lines[:2] == ["File: demo", "Build ID: c21dab10f3eb3ff6fdee19b88173a3fcfca42244"]


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The receiver of the OpenTelemetry collector, from Go's proxy."""
    return viewers.otlp_receiver(tmp_path_factory.mktemp("otlp") / "receiver")


def values_of(recording: Path) -> dict[str, int]:
    """Return what the four profiles come to."""
    allocated, live = sums(recording)
    return {
        "alloc_objects/count": allocated.count,
        "alloc_space/bytes": allocated.size_bytes,
        "inuse_objects/count": live.count,
        "inuse_space/bytes": live.size_bytes,
    }


def test_the_collector_reads_an_otlp_file(
    recording: Path, tmp_path: Path, receiver: Path, gadgetops: Gadgetops
) -> None:
    """With names, files and build ids."""
    gadgetops("convert", recording, "--to", "otlp", "-o", tmp_path / "p")
    found = json.loads(viewers.run(receiver, tmp_path / "p"))
    assert found["values"] == values_of(recording)
    if recording == DEMO:
        assert found["service"] == "demo"
        assert {"remember", "parse_request", "main"} <= {*found["functions"]}
        assert "c21dab10f3eb3ff6fdee19b88173a3fcfca42244" in found["build_ids"]


def test_otlp_profiles_are_such_as_parca_takes(
    write_recording: Callable[..., Path], tmp_path: Path, gadgetops: Gadgetops
) -> None:
    """It refuses all of a request where a profile has no period, or no samples: nothing is in use here."""
    path = write_recording([("malloc", 0x10, 100, 1), ("free", 0x10, 0, 1)])
    gadgetops("convert", path, "--to", "otlp", "-o", tmp_path / "p")
    read = profiles_pb2.ProfilesData.FromString((tmp_path / "p").read_bytes())
    [profiles] = [scope.profiles for each in read.resource_profiles for scope in each.scope_profiles]
    texts = read.dictionary.string_table
    assert [texts[each.sample_type.type_strindex] for each in profiles] == ["alloc_objects", "alloc_space"]
    assert {(texts[each.period_type.type_strindex], each.period) for each in profiles} == {("space", 1)}


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_the_collector_receives_otlp(scheme: str, receiver: Path, gadgetops: Gadgetops) -> None:
    """By both of its protocols."""
    with viewers.receiving(receiver) as received:
        address = received.grpc if scheme == "grpc" else received.http
        result = gadgetops("convert", DEMO, "--to", "otlp", "-o", f"{scheme}://{address}")
        assert (result.status, result.out) == (0, ""), result.err
        assert received.next()["values"] == values_of(DEMO)
    assert result.err.startswith("sent ")


def test_many_stacks_go_in_several_requests(
    tmp_path: Path, receiver: Path, gadgetops: Gadgetops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their sums add up to the whole."""
    monkeypatch.setattr("gadgetops.report.exports.otlp._MOST_SAMPLES", 25)
    path = write_synthetic(tmp_path / "r.gadgetrec", 3000)
    with viewers.receiving(receiver) as received:
        gadgetops("convert", path, "--to", "otlp", "-o", f"http://{received.http}")
        requests = [received.next()["values"] for _ in range(3)]
    whole = {name: sum(each.get(name, 0) for each in requests) for name in values_of(path)}
    assert whole == values_of(path)


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_an_endpoint_that_is_not_there_is_named(scheme: str, gadgetops: Gadgetops) -> None:
    """In one sentence and a hint."""
    result = gadgetops("convert", DEMO, "--to", "otlp", "-o", f"{scheme}://127.0.0.1:1")
    assert (result.status, f"{scheme}://127.0.0.1:1" in result.err, len(result.err.splitlines())) == (
        1,
        True,
        2,
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--to", "pprof", "-o", "http://localhost"], "--to pprof cannot be sent"),
        (["--to", "pprof", "-o", "f", "--header", "a=b"], "--header goes with an endpoint alone"),
        (["--to", "otlp", "-o", "http://localhost", "--header", "a"], "--header a: not KEY=VALUE"),
        (["--to", "otlp", "-o", "grpc://localhost/path"], "a gRPC endpoint has no path"),
    ],
)
def test_an_endpoint_takes_what_it_can(arguments: list[str], says: str, gadgetops: Gadgetops) -> None:
    """All else is refused."""
    result = gadgetops("convert", DEMO, *arguments)
    assert (result.status, says in result.err) == (2, True), result.err


def test_without_the_package_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gadgetops: Gadgetops
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.proto.profiles.v1development.profiles_pb2", None)
    result = gadgetops("convert", DEMO, "--to", "otlp", "-o", tmp_path / "f")
    assert (result.status, "install gadgetops[otlp]" in result.err) == (2, True)


@pytest.mark.parametrize("to", [*FORMATS])
def test_a_dash_is_standard_output(to: str, tmp_path: Path) -> None:
    """The same bytes as in a file, and nothing else."""
    argv = [sys.executable, "-m", "gadgetops", "convert", DEMO, "--to", to, "-o"]
    out = subprocess.run([*argv, "-"], capture_output=True, check=True).stdout
    subprocess.run([*argv, tmp_path / "f"], check=True, capture_output=True)
    content = (tmp_path / "f").read_bytes()
    if to in ("csv", "ndjson"):
        assert sorted(out.splitlines()) == sorted(content.splitlines())
    elif to == "parquet":
        assert (out[:4], out[-4:]) == (b"PAR1", b"PAR1")
    else:
        assert out == content
    assert len(content) > 100


def test_a_terminal_is_not_given_what_is_not_text(tmp_path: Path) -> None:
    """It would be obeyed."""
    master, slave = pty.openpty()
    argv = [sys.executable, "-m", "gadgetops", "convert", DEMO, "--to", "pprof", "-o", "-"]
    done = subprocess.run(argv, stdout=slave, stderr=subprocess.PIPE, text=True, check=False)
    os.close(slave)
    os.close(master)
    assert (done.returncode, "a terminal cannot show it" in done.stderr) == (2, True)


def test_a_terminal_is_told_how_far_it_is(tmp_path: Path) -> None:
    """And nothing is left of it."""
    master, slave = pty.openpty()
    argv = [sys.executable, "-m", "gadgetops", "convert", DEMO, "--to", "heaptrack", "-o", tmp_path / "f"]
    subprocess.run(argv, stderr=slave, check=True)
    said = os.read(master, 65536).decode()
    os.close(slave)
    os.close(master)
    assert "converting to heaptrack" in said
    assert "\r\x1b[K" in said.partition("converting to heaptrack")[2]
