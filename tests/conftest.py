"""What all tests share: where things lie, and that a skip is loud (and a failure in CI)."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gadgetops import commands

ROOT = Path(__file__).parent.parent
IN_CI = os.environ.get("CI", "") not in ("", "false", "0")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the images and settings of the person who runs it."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("GADGETOPS_STORE", str(home / "store"))
    for variable in ("SOURCE_DATE_EPOCH", "CLANG", "LLVM_STRIP"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(autouse=True)
def _fresh_message_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--quiet` of one call does not silence the next in the same process."""
    monkeypatch.setattr(commands.messages.settings, "quiet", False)
    monkeypatch.setattr(commands.messages.settings, "verbose", False)


class Result:
    """Exit status and output of one call of the command line."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err


@pytest.fixture
def gadgetops(capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Call the command line in this process: `gadgetops("list", "--format", "json")`."""

    def call(*arguments: object) -> Result:
        capfd.readouterr()
        status = commands.main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Result(status, captured.out, captured.err)

    return call


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs something this machine lacks, by name."""
    if item.get_closest_marker("ig") and shutil.which("ig") is None:
        pytest.skip("no `ig` on PATH")
    if item.get_closest_marker("ig_sources") and not os.environ.get("GADGETOPS_TEST_IG_SOURCES"):
        pytest.skip("GADGETOPS_TEST_IG_SOURCES names no source of ig")
    if item.get_closest_marker("kernel") and (reason := _why_no_tracing()):
        pytest.skip(reason)


def _why_no_tracing() -> str | None:
    if os.geteuid() != 0:
        return "tracing needs root"
    if not Path("/sys/kernel/btf/vmlinux").exists():
        return "the kernel has no BTF"
    if not Path("/sys/bus/event_source/devices/uprobe").exists():
        return "the kernel has no uprobes"
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """In CI only `ig` may be missing, its program or its sources: all else is a hole in the proof."""
    report = yield
    may_be_skipped = item.get_closest_marker("ig") or item.get_closest_marker("ig_sources")
    if IN_CI and report.skipped and not hasattr(report, "wasxfail") and not may_be_skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report
