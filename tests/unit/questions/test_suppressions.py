"""Suppressions in LeakSanitizer's syntax."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gadgetops.errors import UsageError
from gadgetops.questions.asking.stacks_of import Frame
from gadgetops.questions.leaks.suppressions import Suppression, parse_suppressions

FRAMES = [
    Frame("ns::make(int)", "/src/a.c", 5, "/lib/libx.so.1", 16, 1),
    Frame("main", None, None, None, None, 2),
]


@pytest.mark.parametrize(
    ("pattern", "is_matched"),
    [
        ("make", True),
        ("^main$", True),
        ("^mai$", False),
        ("^make", False),
        ("libx.so", True),
        ("libx?so", False),
        ("a.c", True),
        ("ns::*int", True),
        ("^ns*)$", True),
        ("other", False),
    ],
)
def test_patterns(pattern: str, is_matched: bool) -> None:
    """In function, file or module; only `*`, `^` and `$` are special."""
    assert Suppression(pattern, "f:1").matches(FRAMES) == is_matched


def test_comments_and_empty_lines_are_none() -> None:
    """The place of each is kept."""
    found = parse_suppressions("# known\n\n leak:one\nleak: two words \n", "f")
    assert [(each.pattern, each.place) for each in found] == [("one", "f:3"), ("two words", "f:4")]


@pytest.mark.parametrize("line", ["race:x", "leak:", "x"])
def test_another_line_is_a_wrong_request(line: str) -> None:
    """It would otherwise suppress nothing, silently."""
    with pytest.raises(UsageError, match="f:1: not a suppression"):
        parse_suppressions(line, "f")


def test_what_is_suppressed_is_said(
    gadgetops: Callable[..., Any], write_recording: Callable[..., Path], tmp_path: Path
) -> None:
    """The total stays the truth; a pattern that matches nothing is named."""
    file = tmp_path / "known"
    file.write_text("leak:inner\nleak:nowhere\n")
    path = write_recording([("malloc", 1, 5, 1), ("malloc", 2, 6, 2)])
    document = json.loads(gadgetops("leaks", path, "--suppressions", file, "--format", "json").out)
    assert (document["live_bytes"], [leak["bytes"] for leak in document["leaks"]]) == (11, [6])
    assert document["suppressions"] == [
        {"pattern": "inner", "place": f"{file}:1", "bytes": 5, "count": 1, "stacks": 1},
        {"pattern": "nowhere", "place": f"{file}:2", "bytes": 0, "count": 0, "stacks": 0},
    ]
    text = gadgetops("leaks", path, "--suppressions", file).out
    assert f"{file}:1: leak:inner: 5 B in 1 allocation suppressed" in text
    assert f"{file}:2: leak:nowhere: matches nothing" in text
    assert gadgetops("leaks", path, "--suppressions", tmp_path / "absent").status == 1
