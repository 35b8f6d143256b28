"""From `ig run` to an answer: what it printed, a pipe that grows, and `ig run` as the recorder's engine."""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from services.ig_output import SAMPLES, line
from services.old_recordings import forget_checksums

from gadgetops.recording.reader import open_recording

ROOT = Path(__file__).parents[2]
GadgetOps = Callable[..., Any]

FORMS = ["v0.48.json", "v0.48-ustack.json", "v0.48.jsonpretty", "v0.48.yaml"]
LIVE_BYTES = 12_697
"""Three blocks of 103 bytes, one each of posix_memalign (4096), realloc (8192) and calloc (100)."""
SEVERAL_SECONDS = 20


def leaks_of(gadgetops: GadgetOps, recording: Path) -> dict[str, Any]:
    """Return the answer of `leaks`."""
    document: dict[str, Any] = json.loads(gadgetops("leaks", recording, "--format", "json").out)
    return document


def n_events(recording: Path) -> int:
    """Return how many events can be read."""
    return open_recording(recording).n_events


class TestAnswers:
    """What a program with known calls leaks comes out, whatever ig printed it as."""

    @pytest.mark.parametrize("name", FORMS)
    def test_known_leaks(self, gadgetops: GadgetOps, tmp_path: Path, name: str):
        """Thirty blocks were released; six allocations were not."""
        done = gadgetops("import", SAMPLES / name, "-o", tmp_path / "r")
        assert done.status == 0
        assert done.out == ""
        found = leaks_of(gadgetops, tmp_path / "r")
        assert (found["live_count"], found["live_bytes"]) == (6, LIVE_BYTES)
        assert (found["released_count"], found["lost"]) == (31, None)

    def test_leaks_are_told_apart_by_their_stacks(self, gadgetops: GadgetOps, tmp_path: Path):
        """The three small ones have one stack, and none is symbolised: ig knew no names."""
        gadgetops("import", SAMPLES / "v0.48-ustack.json", "-o", tmp_path / "r")
        found = leaks_of(gadgetops, tmp_path / "r")["leaks"]
        assert [(leak["bytes"], leak["count"]) for leak in found] == [
            (8192, 1),
            (4096, 1),
            (309, 3),
            (100, 1),
        ]
        assert found[2]["stack"][0]["address"] == 0x55D1C674D1C5

    def test_nobody_knows_what_upstreams_gadget_lost(self, gadgetops: GadgetOps, tmp_path: Path):
        """So the answer is not certain, and has no lower bound."""
        done = gadgetops("import", SAMPLES / "v0.48.json", "-o", tmp_path / "r")
        assert "does not say how many events were lost" in done.err
        found = leaks_of(gadgetops, tmp_path / "r")
        assert (found["certainty"], found["at_least_bytes"]) == ("possible", None)

    def test_an_import_that_was_killed_is_not_certain_either(self, gadgetops: GadgetOps, tmp_path: Path):
        """Whether its gadget counts losses is said at the end, which is missing."""
        gadgetops("import", SAMPLES / "v0.48.json", "-o", tmp_path / "r")
        forget_checksums(tmp_path / "r")
        header = json.loads((tmp_path / "r/recording.json").read_text())
        killed = header | {"counters": None, "rows": None, "end": None, "import": None}
        (tmp_path / "r/recording.json").write_text(json.dumps(killed))
        assert leaks_of(gadgetops, tmp_path / "r")["at_least_bytes"] is None

    def test_a_gadget_that_counts_its_losses_gives_certainty(self, gadgetops: GadgetOps, tmp_path: Path):
        """Ours does, in the field `lost`."""
        (tmp_path / "e.json").write_bytes(line(lost=0, size=100))
        gadgetops("import", tmp_path / "e.json", "-o", tmp_path / "r")
        found = leaks_of(gadgetops, tmp_path / "r")
        assert (found["certainty"], found["at_least_bytes"], found["reasons"]) == ("certain", 100, [])

    def test_events_of_several_nodes_are_told_of(self, gadgetops: GadgetOps, tmp_path: Path):
        """Each process number may be there on each node; the message says how to keep them apart."""
        lines = [line(k8s={"node": node}) for node in ("b", "a")]
        (tmp_path / "e.json").write_bytes(b"".join(lines))
        done = gadgetops("import", tmp_path / "e.json", "-o", tmp_path / "r")
        assert (done.status, n_events(tmp_path / "r")) == (0, 2)
        assert "events of several nodes ('a', 'b')" in done.err
        assert "select(.k8s.node ==" in done.err

    def test_a_broken_line_may_have_been_a_release(self, gadgetops: GadgetOps, tmp_path: Path):
        """It is shown with its place, and the answer is a bound."""
        (tmp_path / "e.json").write_bytes(line(lost=0, size=100) + b"broken\n")
        done = gadgetops("import", tmp_path / "e.json", "-o", tmp_path / "r")
        assert done.status == 0
        assert "line 2: JSON is malformed" in done.err
        found = leaks_of(gadgetops, tmp_path / "r")
        assert (found["certainty"], found["lost"], found["at_least_bytes"]) == ("possible", 1, 0)


class TestRequests:
    """What cannot be imported is refused with the way out."""

    @pytest.mark.parametrize(
        ("data", "problem", "hint"),
        [
            (b"", "empty", "-o json"),
            (b"\n\n", "empty", "-o json"),
            (b"RUNTIME.CONTAINERNAME COMM PID\nx y 1\n", "no events", "these are ig's columns"),
            (b"\x7fELF\x00\x01", "no events", "-o json"),
            (b'time="x" level=error msg="no such image"\n', "empty", "-o json"),
            (gzip.compress(line(), mtime=0)[:-4], "gzip: cut off", ""),
            (gzip.compress(line(), mtime=0)[:20] + b"!" * 30, "gzip: ", ""),
        ],
    )
    def test_no_events(self, gadgetops: GadgetOps, tmp_path: Path, data: bytes, problem: str, hint: str):
        """Exit status 1."""
        (tmp_path / "e").write_bytes(data)
        done = gadgetops("import", tmp_path / "e", "-o", tmp_path / "r")
        assert done.status == 1
        assert f"{tmp_path / 'e'}: {problem}" in done.err
        assert hint in done.err

    def test_strict(self, gadgetops: GadgetOps, tmp_path: Path):
        """The place is said; what came before is kept, as failed."""
        (tmp_path / "e.json").write_bytes(line() + b"broken\n" + line())
        done = gadgetops("import", "--strict", tmp_path / "e.json", "-o", tmp_path / "r")
        assert done.status == 1
        assert "line 2" in done.err
        assert "kept what came before it, 1 event, in" in done.err
        assert json.loads((tmp_path / "r/recording.json").read_text())["end"] == "failed"

    def test_what_is_there_is_not_overwritten(self, gadgetops: GadgetOps, tmp_path: Path):
        """A recording is never replaced."""
        (tmp_path / "r").mkdir()
        done = gadgetops("import", SAMPLES / "v0.48.json", "-o", tmp_path / "r")
        assert (done.status, [*(tmp_path / "r").iterdir()]) == (1, [])

    def test_standard_input_needs_a_name(self, gadgetops: GadgetOps):
        """A file gives its own."""
        assert gadgetops("import", "-").status == 2

    def test_a_file_gives_its_name(
        self, gadgetops: GadgetOps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """Compressed or not."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "app.json.gz").write_bytes(gzip.compress(line()) + gzip.compress(line()))
        assert gadgetops("import", "app.json.gz").status == 0
        assert n_events(tmp_path / "app.gadgetrec") == 2


class TestPipes:
    """A pipe is recorded as it grows."""

    def test_segments_are_durable_before_the_pipe_ends(
        self, gadgetops: GadgetOps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """What came in is on disk soon, though nothing follows it."""
        monkeypatch.setattr("gadgetops.recording.writer.SEGMENT_SECONDS", 0.05)
        os.mkfifo(tmp_path / "pipe")
        seen: list[bool] = []

        def write() -> None:
            with (tmp_path / "pipe").open("wb", buffering=0) as pipe:
                pipe.write(line())
                seen.append(appears(tmp_path / "r/events-00000.parquet"))
                pipe.write(line())

        writer = threading.Thread(target=write)
        writer.start()
        done = gadgetops("import", tmp_path / "pipe", "-o", tmp_path / "r")
        writer.join()
        assert (done.status, seen, n_events(tmp_path / "r")) == (0, [True], 2)

    @pytest.mark.parametrize(("last_words", "end"), [(True, "complete"), (False, "interrupted")])
    def test_ctrl_c_ends_cleanly(self, tmp_path: Path, last_words: bool, end: str):
        """What the writer still says is kept; a writer that says nothing more is left alone."""
        argv = [sys.executable, "-m", "gadgetops", "import", "-", "-o", str(tmp_path / "r")]
        child = subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert child.stdin is not None
        child.stdin.write(line())
        child.stdin.flush()
        assert appears(tmp_path / "r/recording.json")
        child.send_signal(signal.SIGINT)
        if last_words:
            child.stdin.write(line())
            child.stdin.close()
        assert child.wait(SEVERAL_SECONDS) == 0
        header = json.loads((tmp_path / "r/recording.json").read_text())
        assert (header["end"], header["counters"]["events"]) == (end, 1 + last_words)
        child.stdin.close()


def appears(path: Path) -> bool:
    """Wait until *path* is there, and return whether it is."""
    deadline = time.monotonic() + SEVERAL_SECONDS
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return path.exists()


FAKE_IG = """#!/bin/sh
if [ "$1" = version ]; then echo v0.48.0; exit 0; fi
echo "$@" > "$FAKE_IG_SEEN"
trap 'cat "$FAKE_IG_LAST_WORDS"; exit 0' INT
cat "$FAKE_IG_OUTPUT"
echo 'time="2026-11-22T20:07:17Z" level=warning msg="reading event: lost 3 samples"' >&2
[ -z "$FAKE_IG_FAILURE" ] || { echo "Error: $FAKE_IG_FAILURE" >&2; exit 1; }
while :; do sleep 0.05; done
"""
"""Prints captured output: `ig run` attaches nothing where the kernel has no kprobes."""


class FakeIg:
    """A program `ig` on PATH that prints what ig printed once, and says how it was called."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder.mkdir()
        self._folder = folder
        (folder / "ig").write_text(FAKE_IG)
        (folder / "ig").chmod(0o755)
        (folder / "last").write_bytes(line(size=999))
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        monkeypatch.setenv("FAKE_IG_SEEN", str(folder / "seen"))
        monkeypatch.setenv("FAKE_IG_LAST_WORDS", str(folder / "last"))
        monkeypatch.setenv("FAKE_IG_OUTPUT", str(SAMPLES / "v0.48-ustack.json"))
        monkeypatch.setenv("FAKE_IG_FAILURE", "")

    @property
    def arguments(self) -> list[str]:
        """What it was called with."""
        return (self._folder / "seen").read_text().split()


@pytest.fixture
def fake_ig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeIg:
    """A fake ig on PATH."""
    return FakeIg(tmp_path / "bin", monkeypatch)


class TestEngine:
    """`record --engine ig` runs ig, and what it prints is the recording."""

    def test_what_it_prints_is_recorded(self, gadgetops: GadgetOps, tmp_path: Path, fake_ig: FakeIg):
        """Also what it prints after it was asked to stop; its warnings about loss count."""
        record = ("record", "--engine", "ig", "--duration", "1", "-o", tmp_path / "r")
        done = gadgetops(*record, "--container", "shop", "--param", "verify-image=false")
        assert done.status == 0
        assert "reading event: lost 3 samples" in done.err
        header = json.loads((tmp_path / "r/recording.json").read_text())
        assert (header["end"], header["counters"]["events"]) == ("duration", 69)
        assert (header["counters"]["lost"], header["counters"]["lost_at_least"]) == (None, 3)
        expected = {"run", "trace_malloc", "--output=json", "--containername=shop", "--verify-image=false"}
        assert expected <= {*fake_ig.arguments}

    @pytest.mark.clang
    def test_stacks_are_asked_of_the_image_that_has_ig_s_maps(
        self, gadgetops: GadgetOps, tmp_path: Path, fake_ig: FakeIg, monkeypatch: pytest.MonkeyPatch
    ):
        """If it was built; the other one has ig panic, which is said."""
        monkeypatch.setenv("GADGETOPS_STORE", str(tmp_path / "store"))
        record = ("record", "--engine", "ig", "--host", "--duration", "0.5")
        assert gadgetops("build", ROOT, "-t", "trace_malloc").status == 0
        assert "collects no stacks under ig" in gadgetops(*record, "-o", tmp_path / "1").err
        assert "trace_malloc" in fake_ig.arguments
        build = ("build", ROOT, "-f", ROOT / "build-ustack.yaml", "-t", "trace_malloc_ustack")
        assert gadgetops(*build).status == 0
        assert "collects no stacks under ig" not in gadgetops(*record, "-o", tmp_path / "2").err
        assert {"trace_malloc_ustack", "--collect-ustack=true"} <= {*fake_ig.arguments}
        assert (
            "collects no stacks under ig" not in gadgetops(*record, "--no-stacks", "-o", tmp_path / "3").err
        )
        assert "trace_malloc" in fake_ig.arguments

    def test_a_process_is_looked_for_outside_of_containers_too(
        self, gadgetops: GadgetOps, tmp_path: Path, fake_ig: FakeIg
    ):
        """ig's filter by process alone would find it only inside of a container."""
        gadgetops(
            "record",
            "--engine",
            "ig",
            "--duration",
            "0.5",
            "--pid",
            "42",
            "-o",
            tmp_path / "r",
            "--no-stacks",
        )
        assert {"--host=true", "--pid=42"} <= {*fake_ig.arguments}
        assert "--collect-ustack=true" not in fake_ig.arguments

    def test_ctrl_c_ends_it_cleanly(self, tmp_path: Path, fake_ig: FakeIg):
        """ig is asked to stop once, and has time to say the rest."""
        argv = [
            sys.executable,
            "-m",
            "gadgetops",
            "record",
            "--engine",
            "ig",
            "--host",
            "-o",
            str(tmp_path / "r"),
        ]
        child = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
        assert appears(tmp_path / "r/recording.json")
        child.send_signal(signal.SIGINT)
        assert child.wait(SEVERAL_SECONDS) == 0
        header = json.loads((tmp_path / "r/recording.json").read_text())
        assert (header["end"], header["counters"]["events"]) == ("interrupted", 69)

    def test_its_failure_is_ours_and_what_it_printed_is_kept(
        self, gadgetops: GadgetOps, tmp_path: Path, fake_ig: FakeIg, monkeypatch: pytest.MonkeyPatch
    ):
        """Its own words are shown."""
        monkeypatch.setenv("FAKE_IG_FAILURE", "no such gadget")
        done = gadgetops("record", "--engine", "ig", "--host", "-o", tmp_path / "r")
        assert done.status == 1
        assert "no such gadget" in done.err
        header = json.loads((tmp_path / "r/recording.json").read_text())
        assert (header["end"], header["counters"]["events"]) == ("failed", 68)

    def test_without_ig_it_says_so(
        self, gadgetops: GadgetOps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """And where to get it; nothing is left behind."""
        monkeypatch.setenv("PATH", str(tmp_path))
        done = gadgetops("record", "--engine", "ig", "--host", "-o", tmp_path / "r")
        assert (done.status, (tmp_path / "r").exists()) == (1, False)
        assert "ig: not found on PATH\ninstall ig" in done.err

    @pytest.mark.parametrize(
        "arguments",
        [["--", "true"], ["--pid", "1,2"], ["--host", "--max-events", "5"], ["--pid", "1", "--no-children"]],
    )
    def test_what_ig_cannot_do_is_refused(self, gadgetops: GadgetOps, tmp_path: Path, arguments: list[str]):
        """Exit status 2, before anything runs."""
        assert gadgetops("record", "--engine", "ig", "-o", tmp_path / "r", *arguments).status == 2

    @pytest.mark.ig
    def test_the_real_ig_takes_the_command_line(
        self, gadgetops: GadgetOps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """It loads our gadget from its store, runs until it is stopped, and ends well."""
        store = tmp_path / "ig" / "oci-store"
        monkeypatch.setenv("GADGETOPS_STORE", str(store))
        store.parent.mkdir()
        assert gadgetops("build", ROOT, "-t", "trace_malloc").status == 0
        own_store = (
            'mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/ig && mount --bind "$0" /var/lib/ig && exec "$@"'
        )
        record = [sys.executable, "-m", "gadgetops", "record", "--engine", "ig", "--host", "--duration", "2"]
        options = ["--param", "verify-image=false", "-o", str(tmp_path / "r")]
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--mount-proc"]
        done = subprocess.run(
            [*namespaces, "sh", "-c", own_store, str(store.parent), *record, *options],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        header = json.loads((tmp_path / "r/recording.json").read_text())
        assert header["end"] == "duration"
        assert [each for each in header["import"]["messages"] if each["level"] in ("error", "fatal")] == []
