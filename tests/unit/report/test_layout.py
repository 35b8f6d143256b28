"""Answers on a terminal: its width, its colours, its pager; elsewhere they are as they are."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gadgetops.report.layout import MIN_WIDTH, fitted, painted, with_paths_once

Write = Callable[..., Path]


@given(st.lists(st.text("abc:/-", min_size=1, max_size=60), max_size=40), st.integers(0, 200))
def test_no_word_is_broken_or_lost(words: list[str], width: int) -> None:
    """Whatever the width; only a word that is longer than it makes a longer line."""
    lines = fitted(f"  {' '.join(words)}", width).split("\n")
    assert " ".join(lines).split() == words
    longest = max(map(len, words), default=0) + 6
    assert all(len(line) <= max(width, MIN_WIDTH, longest) for line in lines)


def test_tables_and_charts_are_left_alone() -> None:
    """Their columns would be lost."""
    table = "SHARE      BYTES  GROUP\n" + f"10.0 %  1.00 KiB  {'x' * 90}"
    assert fitted(table, 40) == table
    chart = "1.00 MiB |" + "▁" * 100
    assert fitted(chart, 40) == chart


def test_what_continues_a_line_is_indented() -> None:
    """So that the next frame is told from the rest of this one."""
    assert fitted(f"  {'a' * 30} {'b' * 30}", 40) == f"  {'a' * 30}\n      {'b' * 30}"


def test_a_path_is_whole_once() -> None:
    """Then its own name is enough; what is no frame is left."""
    text = "  f /src/app/a.c:1\n  g /src/app/a.c:7\n  h /src/app/b.c:2\n  main\n  k /lib/x.so"
    assert with_paths_once(f"{text}\n{text}").split("\n") == [
        "  f /src/app/a.c:1",
        "  g a.c:7",
        "  h /src/app/b.c:2",
        "  main",
        "  k /lib/x.so",
        "  f a.c:1",
        "  g a.c:7",
        "  h b.c:2",
        "  main",
        "  k x.so",
    ]


def test_verdicts_and_doubts_have_colours() -> None:
    """Each once in a line."""
    text = painted(
        "certain: 1 B\n  likely a leak: grew\n  f a.c:1\nnothing", lambda part, role: f"<{role}>{part}"
    )
    assert text == "<good>certain: 1 B\n  <bad>likely a leak: grew\n  f <quiet>a.c:1\nnothing"


def on_terminal(*arguments: object, columns: int = 60, lines: int = 200, **environment: str) -> str:
    """Return what `gadgetops` prints on a terminal of that size."""
    master, slave = pty.openpty()
    size = {"COLUMNS": str(columns), "LINES": str(lines), "TERM": "xterm"}
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "PAGER", "LESS")}
    process = subprocess.Popen(
        [sys.executable, "-m", "gadgetops", *map(str, arguments)],
        stdout=slave,
        stdin=slave,
        env={**kept, **size, **environment},
    )
    os.close(slave)
    found = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        found += part
    os.close(master)
    assert process.wait() == 0
    return found.decode().replace("\r\n", "\n")


@pytest.fixture
def recording(write_recording: Write) -> Path:
    """A recording with three stacks."""
    return write_recording([("malloc", 1, 5, 1), ("malloc", 2, 9, 2), ("malloc", 4, 1, -1)])


def test_a_terminal_has_colours_and_its_width(recording: Path, gadgetops: Callable[..., object]) -> None:
    """NO_COLOR leaves the colours out; what is no terminal gets neither."""
    text = on_terminal("leaks", recording)
    assert text.startswith("\x1b[32m\x1b[1mcertain\x1b[0m")
    plain = on_terminal("leaks", recording, NO_COLOR="1")
    assert "\x1b" not in plain
    assert max(map(len, plain.splitlines())) <= 60
    words = [word for word in plain.split() if word.strip("▁▂▃▄▅▆▇█")]
    assert words == gadgetops("leaks", recording).out.split()  # type: ignore[attr-defined]


def test_what_is_longer_than_the_terminal_goes_to_the_pager(recording: Path, tmp_path: Path) -> None:
    """The user's own; `cat` is none, and what fits needs none. JSON goes to none."""
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\necho paged with $LESS\nexec cat\n")
    pager.chmod(0o755)
    options = {"NO_COLOR": "1", "GADGETOPS_PAGER": str(pager)}
    assert on_terminal("leaks", recording, lines=5, **options).startswith("paged with FRX\ncertain")
    assert on_terminal("leaks", recording, lines=200, **options).startswith("certain")
    assert on_terminal("leaks", recording, lines=5, NO_COLOR="1", PAGER="cat").startswith("certain")
    assert on_terminal("leaks", recording, "--format", "json", lines=5, **options).startswith("{")
