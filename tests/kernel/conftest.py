"""The gadget as built from this folder, programs that know their calls, and recordings of them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from services.gadget_build import build_gadget
from services.recordings import Compiler, Recorder


@pytest.fixture(scope="session")
def gadget_object(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gadget, compiled once from this folder, or by who runs the tests."""
    return build_gadget(tmp_path_factory.mktemp("gadget"))


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiler:
    """Compile a program of tests/workloads, once: `compiled("nested")`, `compiled("nested", "musl-gcc")`."""
    return Compiler(tmp_path_factory.mktemp("workloads"))


@pytest.fixture(scope="session")
def record(
    gadget_object: Path, compiled: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Recorder:
    """Record a workload: `record("nested").events`."""
    return Recorder(["--image", gadget_object], compiled, tmp_path_factory.mktemp("recordings"))
