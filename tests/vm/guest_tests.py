"""Tests of this project in a virtual machine: what is run there, and what came of it."""

import os
import shlex
import sys
import sysconfig
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from vm.kernels import Kernel, Unavailable
from vm.machine import SHARE, Outcome, boot

ROOT = Path(__file__).parents[2]
PATIENCE = 10
"""By how much longer than elsewhere a test may wait for what it started."""
ALLOWED_SKIP = "this kernel"
"""How the reason begins for which a test may be skipped: what it is about is not there."""
TAIL_LINES = 60
NOT_IMPORTED = (
    "site-packages",
    "pyspark",
    "pyarrow*",
    "pandas*",
    "playwright",
    "kubernetes_validate",
    "jedi",
    "debugpy",
    "grpc",
    "pillow*",
    "PIL",
    "*fuzzer*",
    "atheris",
    "pip",
    "mypy",
    "mypyc",
    "*__mypyc*",
    "test",
    "config-*",
)
"""What is large in the folders of Python, and used by no test that runs in a virtual machine."""


@dataclass(frozen=True)
class Results:
    """
    What the tests in a virtual machine came to.

    Attributes:
        passed: Names of tests.
        skipped: Reasons, by name of the test.
        failed: What went wrong, by name of the test.
    """

    passed: Sequence[str]
    skipped: dict[str, str]
    failed: dict[str, str]


def expect_no_failure(
    kernel: Kernel, selection: Sequence[str], *, gadget: Path, share: Path, timeout_s: float
) -> None:
    """
    Run pytest under *kernel*: no test may fail, or be left out but for a feature that the kernel lacks.

    The arguments are those of `run_tests`. A kernel that cannot be had is a skip.
    """
    try:
        results = run_tests(kernel, selection, gadget=gadget, share=share, timeout_s=timeout_s)
    except Unavailable as error:
        pytest.skip(f"Linux {kernel.name} cannot be had: {error}")
    expect_passes(kernel.name, results, share)


def expect_passes(name: str, results: Results, share: Path) -> None:
    """Look through the results under Linux *name*: nothing failed, nothing is missing but features of it."""
    log = (share / "log").read_text(errors="replace")
    assert not results.failed, f"under Linux {name}:\n{log}"
    assert all(ALLOWED_SKIP in reason for reason in results.skipped.values()), results.skipped
    print(f"Linux {name}: {len(results.passed)} passed, {len(results.skipped)} skipped", results.skipped)
    assert results.passed, log


def run_tests(
    kernel: Kernel, selection: Sequence[str], *, gadget: Path, share: Path, timeout_s: float
) -> Results:
    """
    Run pytest under *kernel* and return what it found.

    Args:
        kernel: The kernel.
        selection: Arguments of pytest.
        gadget: A compiled gadget: a compiler is slow there.
        share: A new folder, in which all that is known of the run is left.
        timeout_s: For the whole of it.

    Raises:
        Unavailable: The kernel cannot be had.
        AssertionError: The tests did not come to an end.
    """
    (share / gadget.name).write_bytes(gadget.read_bytes())
    outcome = boot(
        kernel,
        _script(selection, gadget.name),
        share=share,
        timeout_s=timeout_s,
        keep=[ROOT, Path(sys.prefix)],
        in_memory=python_files(),
    )
    report = share / "junit.xml"
    assert report.exists(), how_it_ended(outcome)
    return results_of(report)


def python_files() -> dict[Path, list[Path]]:
    """Return the folders of Python and of this project with the files that the tests may import."""
    standard, packages = (Path(sysconfig.get_path(name)) for name in ("stdlib", "platlib"))
    return {
        folder: [*_files(folder, folder)]
        for folder in (standard, packages, ROOT / "operator", ROOT / "tests")
    }


def _files(folder: Path, top: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if folder == top and any(path.match(name) for name in NOT_IMPORTED):
            continue
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _files(path, top)


def _script(selection: Sequence[str], gadget: str) -> str:
    settings = {
        "HOME": "/tmp/home",
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
        "GADGETOPS_TEST_OBJECT": f"{SHARE}/{gadget}",
        "GADGETOPS_TEST_PATIENCE": str(PATIENCE),
    }
    line = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--durations=20"]
    line += [f"--junitxml={SHARE}/junit.xml", *selection]
    exports = (f"export {name}={shlex.quote(value)}" for name, value in settings.items())
    return "\n".join(
        [*exports, "mkdir -p $HOME", f"cd {shlex.quote(str(ROOT))}", f"{shlex.join(line)} >{SHARE}/log 2>&1"]
    )


def how_it_ended(outcome: Outcome) -> str:
    """Return the last that is known of a machine whose tests did not come to an end."""
    log = outcome.share / "log"
    texts = [log.read_text(errors="replace")] if log.exists() else []
    lines = "\n".join([*texts, outcome.console]).splitlines()
    return "\n".join([f"the tests did not come to an end, status {outcome.status}:", *lines[-TAIL_LINES:]])


def results_of(report: Path) -> Results:
    """Return what pytest wrote into *report*."""
    passed, skipped, failed = [], {}, {}
    for case in ET.parse(report).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        bad = [child for child in case if child.tag in ("failure", "error")]
        left_out = case.find("skipped")
        if bad:
            failed[name] = "\n".join(f"{child.get('message')}\n{child.text}" for child in bad)
        elif left_out is not None:
            skipped[name] = str(left_out.get("message"))
        else:
            passed.append(name)
    return Results(passed, skipped, failed)
