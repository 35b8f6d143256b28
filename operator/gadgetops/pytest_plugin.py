"""
A pytest marker and fixture: a test fails if the program that it starts exceeds its memory budget.

    @pytest.mark.gadget_budget(leak_bytes=0, peak="64M")
    def test_server(gadget_run):
        gadget_run(["./server", "--selftest"])

The program is recorded by `gadgetops record`, and checked by `gadgetops check`, in processes of their own:
pytest itself imports nothing of the package but this module.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

_MARKER: Final = "gadget_budget"
_LIMITS: Final = {
    "leak_bytes": "--max-leak-bytes",
    "leaks": "--max-leaks",
    "peak": "--max-peak",
    "calls": "--max-calls",
    "mapped_bytes": "--max-mapped-bytes",
}
_GADGETOPS: Final = (sys.executable, "-m", "gadgetops")
_WITHIN_BUDGET: Final = 0

GadgetRun = Callable[..., "subprocess.CompletedProcess[Any]"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--gadget-image`."""
    group = parser.getgroup("gadgetops")
    group.addoption(
        "--gadget-image", metavar="REF|OBJECT.o", help="Gadget that gadget_run records with (trace_malloc)."
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    limits = ", ".join(_LIMITS)
    config.addinivalue_line(
        "markers",
        f"{_MARKER}({limits}): what a program started by gadget_run may take, see `gadgetops check`",
    )


@pytest.fixture
def gadget_run(request: pytest.FixtureRequest, tmp_path: Path) -> GadgetRun:
    """
    Give a function as `subprocess.run`, which records the program and fails the test beyond the budget.

    The recordings are left in the test's `tmp_path`. Root is needed with `--gadget-image` alone.
    """
    limits = _limits(request.node)
    image = request.config.getoption("--gadget-image")
    options = ["--image", str(image)] if image else []
    recordings: list[Path] = []

    def run(argv: Sequence[str], *, check: bool = False, **how: Any) -> "subprocess.CompletedProcess[Any]":
        recording = tmp_path / f"{len(recordings)}.gadgetrec"
        recordings.append(recording)
        record = [*_GADGETOPS, "record", "--quiet", "-o", str(recording), *options, "--", *map(str, argv)]
        try:
            return subprocess.run(record, check=check, **how)
        finally:
            _check(recording, limits)

    return run


def _limits(node: pytest.Item) -> list[str]:
    """Return the options of `gadgetops check` that the marker asks for."""
    marker = node.get_closest_marker(_MARKER)
    given = {} if marker is None else marker.kwargs
    unknown = [*given.keys() - _LIMITS.keys()]
    if marker is None or not given or marker.args or unknown:
        known = ", ".join(f"{name}=…" for name in _LIMITS)
        pytest.fail(f"gadget_run needs @pytest.mark.{_MARKER}(…), with any of {known}", pytrace=False)
    return [text for name, value in given.items() for text in (_LIMITS[name], str(value))]


def _check(recording: Path, limits: Sequence[str]) -> None:
    """Fail the test unless *recording* is for certain within its *limits*."""
    if not recording.exists():
        # The recorder said on standard error why; its exit status is the caller's.
        pytest.fail(f"{_MARKER}: nothing was recorded", pytrace=False)
    check = [*_GADGETOPS, "check", str(recording), *limits]
    done = subprocess.run(check, capture_output=True, text=True, check=False, cwd=recording.parent)
    if done.returncode != _WITHIN_BUDGET:
        pytest.fail(f"{_MARKER}: {done.stdout}{done.stderr}", pytrace=False)
