"""Every format holds the same sums, and is read by the tools it is for."""

import csv
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import jsonschema
import pytest
from services.synthetic import write_synthetic

from gadgetops.questions.asking.question import Amount
from gadgetops.questions.asking.stacks_of import Frame
from gadgetops.questions.exports.profile import profile
from gadgetops.recording.reader import Recording, open_recording
from gadgetops.report.exports.pprof import to_pprof

Gadgetops = Callable[..., Any]
DEMO = Path(__file__).parents[2] / "data" / "demo.gadgetrec"
FORMATS = ["folded", "pprof", "speedscope", "perfetto", "csv", "parquet", "ndjson"]

ENVIRONMENT = {**os.environ}
"""As it was before tests got folders of their own: Go and npm keep there what they made before."""


class Sums(NamedTuple):
    """What all samples of a file come to."""

    allocated: Amount
    live: Amount


def of_profile(recording: Recording) -> Sums:
    """Return what the recording comes to."""
    samples = profile(recording).samples
    return Sums(
        sum((each.allocated for each in samples), Amount(0, 0)),
        sum((each.live for each in samples), Amount(0, 0)),
    )


def of_folded(path: Path) -> int:
    """Return the sum of the lines' values."""
    return sum(int(line.rpartition(" ")[2]) for line in path.read_text().splitlines())


def of_pprof(path: Path) -> Sums:
    """Return the sums as `go tool pprof -raw` has them."""
    lines = go_pprof("-raw", path).splitlines()
    begin = lines.index(next(line for line in lines if "alloc_objects/count" in line))
    values = [
        [*map(int, found[0].split())] for line in lines[begin:] if (found := re.match(r"[\d ]+(?=:)", line))
    ]
    counts = [sum(column) for column in zip(*(row for row in values if len(row) == 4), strict=True)]
    return Sums(Amount(counts[1], counts[0]), Amount(counts[3], counts[2]))


def of_speedscope(path: Path) -> Sums:
    """Return the sums of the four profiles' weights."""
    sums = [sum(each["weights"]) for each in json.loads(path.read_text())["profiles"]]
    return Sums(Amount(sums[1], sums[3]), Amount(sums[0], sums[2]))


def of_perfetto(path: Path) -> Sums:
    """Return the sums of the heap profiles."""
    samples = [
        sample
        for packet in perfetto_packets(path)
        for dump in packet.profile_packet.process_dumps
        for sample in dump.samples
    ]
    allocated = Amount(
        sum(each.self_allocated for each in samples), sum(each.alloc_count for each in samples)
    )
    freed = Amount(sum(each.self_freed for each in samples), sum(each.free_count for each in samples))
    return Sums(allocated, Amount(allocated.size_bytes - freed.size_bytes, allocated.count - freed.count))


def of_rows(rows: list[dict[str, Any]]) -> Sums:
    """Return the sums of allocations."""
    live = [row for row in rows if str(row["is_live"]).lower() == "true"]
    return Sums(
        Amount(sum(int(row["size_bytes"]) for row in rows), len(rows)),
        Amount(sum(int(row["live_bytes"]) for row in rows), len(live)),
    )


def perfetto_packets(path: Path) -> list[Any]:
    """Return the packets of a trace."""
    proto = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2", reason="no perfetto")
    trace = proto.Trace()
    trace.ParseFromString(path.read_bytes())
    return [*trace.packet]


def go_pprof(*arguments: object) -> str:
    """Return what `go tool pprof` prints."""
    if shutil.which("go") is None:
        pytest.skip("no `go` on PATH")
    argv = ["go", "tool", "pprof", *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, check=True, env=ENVIRONMENT).stdout


@pytest.fixture(scope="module", params=["demo", "synthetic"])
def recording(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded program's, and one with many stacks."""
    if request.param == "demo":
        return DEMO
    return write_synthetic(tmp_path_factory.mktemp("synthetic") / "r.gadgetrec", 3000)


def test_sums_are_the_same_in_every_format(recording: Path, tmp_path: Path, gadgetops: Gadgetops) -> None:
    """Allocated and live, in bytes and allocations."""
    files = {to: tmp_path / f"out.{to}" for to in FORMATS}
    for to, path in files.items():
        result = gadgetops("convert", recording, "--to", to, "-o", path)
        assert (result.status, result.out) == (0, ""), result.err
    expected = of_profile(open_recording(recording))
    assert expected.live.count > 0
    assert of_pprof(files["pprof"]) == expected
    assert of_speedscope(files["speedscope"]) == expected
    assert of_perfetto(files["perfetto"]) == expected
    with files["csv"].open(newline="") as lines:
        assert of_rows([*csv.DictReader(lines)]) == expected
    assert of_rows([json.loads(line) for line in files["ndjson"].read_text().splitlines()]) == expected
    parquet = duckdb.read_parquet(str(files["parquet"]))
    rows = [dict(zip(parquet.columns, row, strict=True)) for row in parquet.fetchall()]
    assert of_rows(rows) == expected
    assert of_folded(files["folded"]) == expected.live.size_bytes


@pytest.mark.parametrize(
    ("by", "sample_index"), [("bytes", "alloc_space"), ("calls", "alloc_objects"), ("live", "inuse_space")]
)
def test_folded_values_are_what_was_asked_for(
    by: str, sample_index: str, tmp_path: Path, gadgetops: Gadgetops
) -> None:
    """As pprof has them."""
    gadgetops("convert", DEMO, "--to", "folded", "--by", by, "-o", tmp_path / "folded")
    gadgetops("convert", DEMO, "--to", "pprof", "-o", tmp_path / "pprof")
    sums = of_pprof(tmp_path / "pprof")
    values = {"alloc_space": sums.allocated.size_bytes, "alloc_objects": sums.allocated.count}
    assert of_folded(tmp_path / "folded") == values.get(sample_index, sums.live.size_bytes)


def test_pprof_names_functions_files_and_lines(tmp_path: Path, gadgetops: Gadgetops) -> None:
    """What leaks comes first, as the default sample is what is in use."""
    gadgetops("convert", DEMO, "--to", "pprof", "-o", tmp_path / "heap.pb.gz")
    top = go_pprof("-top", "-unit=B", tmp_path / "heap.pb.gz")
    assert "Type: inuse_space" in top
    assert [line.split()[0::5] for line in top.splitlines()[7:9]] == [
        ["100000B", "remember"],
        ["40960B", "parse_request"],
    ]
    lines = go_pprof("-lines", "-top", tmp_path / "heap.pb.gz")
    assert re.search(r"remember .*demo\.c:\d+", lines)


@pytest.fixture
def inlined(write_recording: Callable[..., Path]) -> Recording:
    """A stack of two places; at the leaf, `inner` was inlined into `outer`. No other stack is known."""
    return open_recording(write_recording([("malloc", 16, 100, 1), ("malloc", 32, 7, -2)]))


def test_inlined_functions_are_lines_of_one_location(inlined: Recording, tmp_path: Path) -> None:
    """pprof then knows that there was one call."""
    path = tmp_path / "p.pb.gz"
    path.write_bytes(to_pprof(profile(inlined)))
    raw = go_pprof("-raw", path)
    assert re.search(r"1: 0x1010 M=1 inner a\.c:5.*\n\s+outer a\.c:9", raw), raw
    assert re.search(r"/bin/program c0ffee \[FN\]", raw), raw
    assert "its stack could not be collected" in raw


def test_places_have_the_innermost_inlined_function_first(inlined: Recording) -> None:
    """And callers follow."""
    [sample] = [each for each in profile(inlined).samples if each.places]
    assert [[frame.function for frame in place] for place in sample.places] == [["inner", "outer"], ["main"]]
    assert [frame for place in sample.places for frame in place] == [*sample.stack.frames]
    assert isinstance(sample.places[0][0], Frame)


def test_speedscope_files_hold_to_its_schema(tmp_path: Path, gadgetops: Gadgetops) -> None:
    """The schema that its package ships; stacks are root first."""
    schema = speedscope_schema(tmp_path)
    gadgetops("convert", DEMO, "--to", "speedscope", "-o", tmp_path / "s.json")
    document = json.loads((tmp_path / "s.json").read_text())
    jsonschema.validate(document, schema)
    frames = document["shared"]["frames"]
    largest = document["profiles"][0]["samples"][0]
    assert [frames[number]["name"] for number in largest][-3:] == ["main", "serve", "remember"]
    assert document["profiles"][0]["endValue"] == sum(document["profiles"][0]["weights"])


def speedscope_schema(folder: Path) -> dict[str, Any]:
    """Return the schema out of the npm package."""
    if shutil.which("npm") is None:
        pytest.skip("no `npm` on PATH")
    argv = ["npm", "pack", "--silent", "speedscope@1"]
    subprocess.run(argv, cwd=folder, check=True, capture_output=True, env=ENVIRONMENT)
    [archive] = folder.glob("speedscope-*.tgz")
    shutil.unpack_archive(archive, folder / "npm", filter="data")
    [path] = (folder / "npm").rglob("file-format-schema.json")
    schema: dict[str, Any] = json.loads(path.read_text())
    return schema


def test_perfetto_traces_have_counters_of_live_memory(tmp_path: Path, gadgetops: Gadgetops) -> None:
    """The last value is what is live when the recording ends; frames are root first."""
    gadgetops("convert", DEMO, "--to", "perfetto", "-o", tmp_path / "trace")
    packets = perfetto_packets(tmp_path / "trace")
    tracks = {
        packet.track_descriptor.uuid: packet.track_descriptor.name
        for packet in packets
        if packet.HasField("track_descriptor")
    }
    assert [*tracks.values()] == ["live bytes", "live allocations"]
    values = {
        uuid: [each.track_event.counter_value for each in packets if each.track_event.track_uuid == uuid]
        for uuid in tracks
    }
    assert [max(values[1]) >= 140_960, max(values[2]) >= 110] == [True, True]
    times = [packet.timestamp for packet in packets if packet.track_event.track_uuid == 1]
    assert times == sorted(times)
    [interned] = [packet.interned_data for packet in packets if packet.HasField("interned_data")]
    names = {each.iid: each.str.decode() for each in interned.function_names}
    frames = {each.iid: names[each.function_name_id] for each in interned.frames}
    stacks = [[frames[number] for number in stack.frame_ids] for stack in interned.callstacks]
    assert stacks[0][-3:] == ["main", "serve", "remember"]


def test_rows_say_what_released_an_allocation(tmp_path: Path, gadgetops: Gadgetops) -> None:
    """And a filter chooses among them."""
    gadgetops("convert", DEMO, "--to", "ndjson", "--function", "remember", "-o", tmp_path / "rows")
    rows = [json.loads(line) for line in (tmp_path / "rows").read_text().splitlines()]
    assert len({row["seq"] for row in rows}) == len(rows) == 100
    assert {row["stack"].rpartition(";")[2] for row in rows} == {"remember"}
    assert {row["released_operation"] for row in rows} == {"exit"}


@pytest.mark.parametrize("to", FORMATS)
def test_an_empty_recording_gives_a_readable_file(
    to: str, tmp_path: Path, write_recording: Callable[..., Path], gadgetops: Gadgetops
) -> None:
    """With a header where the format has one; the exit status says that nothing was recorded."""
    result = gadgetops("convert", write_recording([]), "--to", to, "-o", tmp_path / "f")
    assert (result.status, (tmp_path / "f").exists()) == (4, True), result.err
    if to == "pprof":
        assert gzip.decompress((tmp_path / "f").read_bytes())
        assert "alloc_objects/count" in go_pprof("-raw", tmp_path / "f")


def test_a_file_that_is_there_is_kept_without_force(tmp_path: Path, gadgetops: Gadgetops) -> None:
    """And nothing is left beside it."""
    target = tmp_path / "f"
    target.write_text("mine")
    result = gadgetops("convert", DEMO, "--to", "folded", "-o", target)
    assert (result.status, target.read_text()) == (1, "mine")
    assert "--force" in result.err
    assert gadgetops("convert", DEMO, "--to", "folded", "-o", target, "--force").status == 0
    assert [each.name for each in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--to", "pprof", "--by", "calls", "-o", "f"], 2, "--by does not go with --to pprof"),
        (["--to", "csv", "-o", "/proc/nowhere/f"], 1, "/proc/nowhere/f: /proc/nowhere cannot be made"),
        (["--to", "gif", "-o", "f"], 2, "'gif' is not one of"),
    ],
)
def test_what_cannot_be_written_is_refused(
    arguments: list[str],
    status: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gadgetops: Gadgetops,
) -> None:
    """Before anything is read."""
    monkeypatch.chdir(tmp_path)
    result = gadgetops("convert", DEMO, *arguments)
    assert (result.status, says in result.err) == (status, True), result.err
    assert not [*tmp_path.iterdir()]


def test_without_perfetto_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gadgetops: Gadgetops
) -> None:
    monkeypatch.setitem(sys.modules, "perfetto.protos.perfetto.trace", None)
    result = gadgetops("convert", DEMO, "--to", "perfetto", "-o", tmp_path / "f")
    assert (result.status, "install gadgetops[perfetto]" in result.err) == (2, True)
    assert not (tmp_path / "f").exists()
