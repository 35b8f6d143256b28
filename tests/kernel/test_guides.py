"""What the README and the guide for programs that grow tell people to type works, word by word."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/guide-leak.md")
SERVER = """#!/bin/sh
# Grows for a second with --port, and for as long as it is left to without.
[ "$1" = --port ] && exec "{demo}"
exec {python} -c 'import time
kept = []
while time.sleep(0.05) is None: kept.append(bytes(10000))'
"""
ELSEWHERE = re.compile(r"\b(shop|ig run|kubectl|ghcr\.io|make|build|docs --check|inspect trace_malloc)")
"""What needs a container, `ig`, a cluster, a registry or the gadget's folder; other tests have those."""


def commands(page: str) -> list[str]:
    """Return the lines with a prompt in the console sessions of *page*, without their comments."""
    sessions = re.findall(r"^```console\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^[$#] (.*)$", "".join(sessions), re.MULTILINE)
    return [line.partition("  #")[0].strip() for line in lines if line.startswith("gadgetops")]


def here(page: str) -> list[str]:
    """Return the commands of *page* that this machine alone can run."""
    return [line for line in commands(page) if not ELSEWHERE.search(line)]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A folder with `./server` and what guides name besides, and the pid of a server that runs."""
    demo = tmp_path / "demo"
    source = ROOT / "tests/workloads/demo.c"
    subprocess.run(["gcc", "-g", "-O0", source, "-o", demo], check=True)
    server = tmp_path / "server"
    server.write_text(SERVER.format(demo=demo, python=sys.executable))
    server.chmod(0o755)
    with subprocess.Popen([server], cwd=tmp_path) as running:
        yield tmp_path, running.pid
        running.kill()


@pytest.mark.kernel
@pytest.mark.parametrize("page", PAGES)
def test_its_commands_do_what_the_page_says(page: str, folder: tuple[Path, int], gadget_object: Path) -> None:
    """One after the other, in one folder; the pid is that of a real process, a minute is a second."""
    place, pid = folder
    lines = here(page)
    assert any(" record " in line for line in lines)
    assert any(" leaks " in line for line in lines)
    for name in ("before", "after"):
        run(f"gadgetops record -o {name}.gadgetrec -- ./server --port 1", place, gadget_object)
    for line in lines:
        run(line.replace("4711", str(pid)).replace("--duration 60", "--duration 1"), place, gadget_object)


def run(line: str, place: Path, gadget_object: Path) -> None:
    """Run *line* as a shell would, and expect success."""
    words = [sys.executable, "-m", *shlex.split(line)]
    if "record" in words:
        place_of_options = words.index("record") + 1
        words[place_of_options:place_of_options] = ["--image", str(gadget_object)]
        shutil.rmtree(place / words[words.index("-o") + 1], ignore_errors=True)
    done = subprocess.run(
        words, cwd=place, env=os.environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{line}: {done.stderr}"
