"""Recordings by the preloaded library, of the same programs that the gadget's tests record."""

import pytest
from services.recordings import Compiler, Recorder

WAY = ["--engine", "preload"]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiler:
    """Compile a program of tests/workloads, once: `compiled("nested")`, `compiled("nested", "musl-gcc")`."""
    return Compiler(tmp_path_factory.mktemp("workloads"))


@pytest.fixture(scope="session")
def record(compiled: Compiler, tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    """Record a workload: `record("nested").events`."""
    return Recorder(WAY, compiled, tmp_path_factory.mktemp("recordings"))
