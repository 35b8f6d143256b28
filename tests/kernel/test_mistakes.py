"""Mistakes that a program makes are found, each once; what only looks like one is none."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from services.patience import PATIENCE

pytestmark = pytest.mark.kernel
TIMEOUT_S = 60 * PATIENCE
GADGETOPS = [sys.executable, "-m", "gadgetops"]
NONE = {"double": 0, "mismatched": 0, "unknown": 0, "failed": 0}

Faults = Callable[..., dict[str, Any]]


@pytest.fixture
def faults(gadget_object: Path, tmp_path: Path) -> Faults:
    """Record a command and return the JSON answer: `faults("./program", "argument")`."""

    def ask(*command: object) -> dict[str, Any]:
        recording = tmp_path / "r.gadgetrec"
        record = [*GADGETOPS, "record", "-q", "-o", recording, "--image", gadget_object, "--", *command]
        subprocess.run([*map(str, record)], check=True, timeout=TIMEOUT_S)
        line = [*GADGETOPS, "faults", str(recording), "--format", "json"]
        answer: dict[str, Any] = json.loads(subprocess.check_output(line, timeout=TIMEOUT_S))
        return answer

    return ask


def test_planted_mistakes_are_found(faults: Faults, compiled: Callable[[str], Path]) -> None:
    """Released twice, in the wrong way, and what nobody allocated."""
    answer = faults(compiled("mistakes"), "wrong")
    assert answer["certainty"] == "certain", answer["reasons"]
    assert answer["counts"] == NONE | {"double": 4, "mismatched": 3, "unknown": 4}


def test_releases_of_other_threads_and_processes_are_no_mistakes(
    faults: Faults, compiled: Callable[[str], Path]
) -> None:
    """In the same memory, as after vfork(), and in copies of it, and in copies of those."""
    answer = faults(compiled("mistakes"), "right")
    assert answer["certainty"] == "certain", answer["reasons"]
    assert answer["counts"] == NONE


@pytest.mark.parametrize("preload", ["", "libjemalloc.so.2", "libtcmalloc_minimal.so.4", "libmimalloc.so.2"])
def test_what_an_allocator_keeps_and_gives_back_is_no_mistake(
    faults: Faults, compiled: Callable[[str], Path], tmp_path: Path, preload: str
) -> None:
    """Threads end with blocks in reserve, and arenas are given back."""
    command: list[object] = [compiled("own_calls"), tmp_path / "truth"]
    if preload:
        command = ["env", f"LD_PRELOAD={preload}", *command]
    assert faults(*command)["counts"] == NONE
