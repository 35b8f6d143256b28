"""What takes a while says so on a terminal, and nowhere else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[1] / "data/demo.gadgetrec"


def said_on_terminal(argv: list[str]) -> str:
    """What a command writes on standard error where that is a terminal."""
    ours, theirs = os.openpty()
    try:
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=theirs) as process:
            os.close(theirs)
            said = b""
            # The kernel says that a terminal has nobody on the other side by an error.
            while True:
                try:
                    part = os.read(ours, 4096)
                except OSError:
                    break
                if not part:
                    break
                said += part
        assert process.returncode == 0, said
    finally:
        os.close(ours)
    return said.decode()


@pytest.mark.parametrize("question", ["summary", "leaks"])
def test_the_first_question_says_that_it_pairs(question: str, tmp_path: Path) -> None:
    """Over many events that takes seconds; the line is gone afterwards, and does not come again."""
    recording = tmp_path / "r.gadgetrec"
    shutil.copytree(DEMO, recording, ignore=shutil.ignore_patterns("pairs*", ".pairs*"))
    argv = [sys.executable, "-m", "gadgetops", question, str(recording)]
    first, second = said_on_terminal(argv), said_on_terminal(argv)
    assert "pairing allocations with releases" in first
    assert "] 0 of 1\r" in first
    assert first.endswith("\r\x1b[K")
    assert second == ""


def test_it_is_not_said_where_nobody_watches(tmp_path: Path) -> None:
    """As in CI, or to a file; nor with --quiet."""
    recording = tmp_path / "r.gadgetrec"
    shutil.copytree(DEMO, recording, ignore=shutil.ignore_patterns("pairs*", ".pairs*"))
    argv = [sys.executable, "-m", "gadgetops", "summary", str(recording)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stderr == ""
