"""Completion, as the shells themselves do it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Gadgetops = Callable[..., "Result"]  # noqa: F821 - the class is conftest's
DEMO = Path(__file__).parents[1] / "data/demo.gadgetrec"
BASH = """
source completion.bash
COMP_WORDS=({words})
COMP_CWORD={position}
_gadgetops_completion gadgetops
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def completed(gadgetops: Gadgetops, tmp_path: Path) -> Callable[[str], list[str]]:
    """What bash offers for the last word of a line, in a folder with a recording."""
    (tmp_path / "completion.bash").write_text(gadgetops("completion", "bash").out)
    shutil.copytree(DEMO, tmp_path / "mine.gadgetrec", ignore=shutil.ignore_patterns("pairs"))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def offered(line: str) -> list[str]:
        words = line.split(" ")
        script = BASH.format(words=" ".join(f"'{word}'" for word in words), position=len(words) - 1)
        how = {"cwd": tmp_path, "env": os.environ | {"PATH": path}}
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, **how)
        return done.stdout.split()

    return offered


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("gadgetops lea", "leaks"),
        ("gadgetops record --dur", "--duration"),
        ("gadgetops leaks mi", "mine.gadgetrec"),
        ("gadgetops inspect trace_malloc_u", "trace_malloc_ustack"),
        ("gadgetops convert mine.gadgetrec --to spe", "speedscope"),
    ],
)
def test_bash_offers_what_is_there(line: str, expected: str, completed: Callable[[str], list[str]]) -> None:
    assert expected in completed(line)


def test_bash_offers_running_processes(completed: Callable[[str], list[str]]) -> None:
    assert str(os.getpid()) in completed(f"gadgetops record --pid {os.getpid()}")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_of_its_shell(shell: str, gadgetops: Gadgetops) -> None:
    """Where the shell is here, it reads it without an error."""
    script = gadgetops("completion", shell).out
    assert "_GADGETOPS_COMPLETE" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)
