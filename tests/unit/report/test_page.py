"""What a report is packed in, how it is kept small, and what its pictures hold."""

import base64
import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from services.planted import write_planted

from gadgetops.questions.leaks.leaks import leaks_in
from gadgetops.questions.slots.slot_sums import slot_sums
from gadgetops.questions.top import top
from gadgetops.recording.reader import open_recording
from gadgetops.report.page.contents import Contents
from gadgetops.report.page.fitting import report_page
from gadgetops.report.page.packing import Column, packed
from gadgetops.units import format_bytes

Gadgetops = Callable[..., Any]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server with three leaks and a cache."""
    return write_planted(tmp_path_factory.mktemp("planted") / "server.gadgetrec")


def unpacked(content: bytes) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """Return header and columns; written from the format's description."""
    raw = zlib.decompress(content)
    length = int.from_bytes(raw[:4], "little")
    header, rest = json.loads(raw[4 : 4 + length]), iter(raw[4 + length :])
    columns = {}
    for name, kind, count in header["columns"]:
        values, previous = [], 0
        for _ in range(count):
            value = shift = 0
            while (byte := next(rest)) >= 128:
                value, shift = value | (byte & 127) << shift, shift + 7
            value |= byte << shift
            if kind != "plain":
                value = value >> 1 if value % 2 == 0 else -(value >> 1) - 1
            previous = previous + value if kind == "difference" else value
            values.append(previous)
        columns[name] = values
    assert next(rest, None) is None
    return header, columns


@given(st.lists(st.integers(-(2**61), 2**61)), st.lists(st.integers(0, 2**62)))
def test_unpacked_columns_are_those_that_were_packed(signed: list[int], plain: list[int]) -> None:
    columns = {
        "a": Column(np.array(signed, np.int64), "signed"),
        "b": Column(np.array(plain, np.int64)),
        "c": Column(np.array(signed, np.int64), "difference"),
    }
    header, found = unpacked(packed({"title": "ü"}, columns))
    assert header["title"] == "ü"
    assert found == {"a": signed, "b": plain, "c": signed}


def test_a_report_that_is_too_large_has_wider_slots_and_fewer_stacks(planted: Path) -> None:
    """And is whole all the same: sums are those of the recording."""
    recording = open_recording(planted)
    contents = Contents((recording,), (leaks_in(planted),), slot_sums(recording))
    whole = report_page(contents)
    smaller = report_page(contents, most_bytes=len(whole) - 1000)
    assert len(smaller) < len(whole)
    total = sum(share.amount.size_bytes for share in top(recording).shares)
    for text in (whole, smaller):
        found = re.search(r'id="contents">([^<]*)<', text)
        assert found is not None
        header, columns = unpacked(base64.b64decode(found[1]))
        assert sum(columns["row_allocated_bytes"]) == total
        assert sum(columns["stack_length"]) == len(columns["stack_frame"])
        assert len(columns["stack_length"]) > max(leak["stack"] for leak in header["leaks"])


def test_a_flame_graph_has_the_sums_of_top(planted: Path, tmp_path: Path, gadgetops: Gadgetops) -> None:
    path = tmp_path / "flame.svg"
    assert gadgetops("report", planted, "--format", "svg", "--by", "bytes", "-o", path).status == 0
    titles = [title.text for title in ElementTree.parse(path).iter(f"{SVG}title")]
    sums = {share.group.stack.frames[0].name: share.amount for share in top(open_recording(planted)).shares}
    for name, amount in sums.items():
        assert any(str(title).startswith(f"{name}: {format_bytes(amount.size_bytes)}, ") for title in titles)


def test_a_timeline_says_its_highest_point(planted: Path, tmp_path: Path, gadgetops: Gadgetops) -> None:
    path = tmp_path / "heap.svg"
    assert gadgetops("report", planted, "--format", "svg", "--picture", "timeline", "-o", path).status == 0
    assert "live memory, at most" in ElementTree.parse(path).getroot().attrib["aria-label"]


@pytest.mark.parametrize(
    "options", ["", "--format svg", "--format svg --picture timeline", "--format markdown"]
)
def test_a_dash_is_standard_output(planted: Path, tmp_path: Path, gadgetops: Gadgetops, options: str) -> None:
    """The same as in a file, and nothing else."""
    gadgetops("report", planted, *options.split(), "-o", tmp_path / "file")
    result = gadgetops("report", planted, *options.split(), "-o", "-")
    assert (result.status, result.out) == (0, (tmp_path / "file").read_text())


def test_a_terminal_is_told_how_far_it_is(tmp_path: Path) -> None:
    """Each step, and how many of how many; nothing is left of it."""
    fresh = write_planted(tmp_path / "fresh.gadgetrec")
    said = on_terminal("report", fresh, "--compare", fresh, "-o", tmp_path / "r.html")
    for step in (
        "pairing allocations with releases [........................] 0 of 1",
        "finding what was not released [............",
        "adding up by stack, thread and time",
        "comparing [....",
        "writing the page",
    ):
        assert step in said, said
    assert said.rstrip().endswith("; certain")
    assert "\r\x1b[Kwrote " in said


def on_terminal(*arguments: object) -> str:
    """Return what the program writes to standard error where that is a terminal, 120 columns wide."""
    master, slave = pty.openpty()
    argv = [sys.executable, "-m", "gadgetops", *map(str, arguments)]
    with subprocess.Popen(argv, stderr=slave, env=os.environ | {"COLUMNS": "120"}) as process:
        os.close(slave)
        said = b""
        # Linux ends a terminal without writers with an error.
        with contextlib.suppress(OSError):
            while part := os.read(master, 65536):
                said += part
    os.close(master)
    assert process.returncode == 0, said
    return said.decode()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--by", "calls"], "--by does not go with --format html"),
        (["--format", "svg", "--sources"], "--sources does not go with --format svg"),
        (["--per", "call"], "--per needs --compare"),
    ],
)
def test_options_that_do_not_go_together_are_named(
    planted: Path, tmp_path: Path, gadgetops: Gadgetops, arguments: list[str], words: str
) -> None:
    result = gadgetops("report", planted, *arguments, "-o", tmp_path / "report.html")
    assert result.status == 2
    assert words in result.err


def test_nothing_is_overwritten_without_force(planted: Path, tmp_path: Path, gadgetops: Gadgetops) -> None:
    path = tmp_path / "report.html"
    path.write_text("mine")
    assert gadgetops("report", planted, "-o", path).status == 1
    assert path.read_text() == "mine"
