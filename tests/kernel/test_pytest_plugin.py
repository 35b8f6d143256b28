"""Tests that limit what a program takes, run by a pytest of their own, on the real kernel."""

import os
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

LEAKING = """
import subprocess
import pytest

LEAK = "import ctypes; m = ctypes.CDLL(None).malloc; m.restype = ctypes.c_void_p; [m(7000) for _ in range(9)]"

@pytest.mark.gadget_budget(calls=100_000_000)
def test_within(gadget_run):
    done = gadget_run(["/bin/echo", "hello"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "hello\\n")

@pytest.mark.gadget_budget(leak_bytes=0)
def test_beyond(gadget_run):
    gadget_run(["python3", "-S", "-c", LEAK])

@pytest.mark.gadget_budget(leak_bytes="1G")
def test_status(gadget_run):
    assert gadget_run(["/bin/sh", "-c", "exit 7"]).returncode == 7

def test_without_budget(gadget_run):
    gadget_run(["/bin/true"])

@pytest.mark.gadget_budget(leak=3)
def test_unknown_limit(gadget_run):
    gadget_run(["/bin/true"])
"""


@pytest.mark.kernel
def test_a_test_fails_by_its_budget(pytester: pytest.Pytester, gadget_object: Path) -> None:
    """Or because it has none; the failure is the verdict, with the stacks."""
    pytester.makepyfile(LEAKING)
    result = pytester.runpytest_subprocess(*plugin(), "--gadget-image", str(gadget_object))
    outcomes = result.parseoutcomes()
    assert (outcomes["passed"], outcomes["failed"] + outcomes["errors"]) == (2, 3), result.outlines
    result.stdout.fnmatch_lines(["gadget_budget: exceeded", "exceeded for certain: bytes never released: *"])
    result.stdout.fnmatch_lines(["gadget_run needs @pytest.mark.gadget_budget(…), with any of leak_bytes=…*"])


def test_without_root_a_test_fails_by_its_budget_too(pytester: pytest.Pytester) -> None:
    """No gadget is named: the programs preload a library."""
    pytester.makepyfile(LEAKING)
    around = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    options = [*plugin(), "-k", "within or beyond or status"]
    result = pytester.run(*around, sys.executable, "-m", "pytest", *options)
    outcomes = result.parseoutcomes()
    assert (outcomes["passed"], outcomes["failed"]) == (2, 1), result.outlines


def test_the_marker_is_registered(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess(*plugin(), "--markers", "--strict-markers")
    result.stdout.fnmatch_lines(["@pytest.mark.gadget_budget(leak_bytes, leaks, peak, calls*): *"])


def plugin() -> list[str]:
    """Return options that load the plugin, be its entry point installed yet or not."""
    assert "PYTEST_DISABLE_PLUGIN_AUTOLOAD" not in os.environ
    installed = any(each.value == "gadgetops.pytest_plugin" for each in entry_points(group="pytest11"))
    return ["-ra"] if installed else ["-ra", "-p", "gadgetops.pytest_plugin"]
