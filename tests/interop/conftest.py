"""Two registries and six clients that other people wrote; what is missing is skipped by its name."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from interop.clients import CLIENTS, Client, tool
from services.registry import free_port, running_registry, wait_until_it_answers

REGISTRIES = ("docker-registry", "crane-registry")


@contextlib.contextmanager
def crane_registry(folder: Path) -> Iterator[str]:
    """Run go-containerregistry's registry, which keeps all in memory."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("wb") as log:
        arguments = [tool("crane"), "registry", "serve", "--address", f"127.0.0.1:{port}"]
        process = subprocess.Popen(arguments, stdout=log, stderr=log)
    try:
        wait_until_it_answers(f"127.0.0.1:{port}", process)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session", params=REGISTRIES)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The host of one registry after the other."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "crane-registry":
        with crane_registry(folder) as address:
            yield address
    else:
        with running_registry(folder) as running:
            yield running.host


@pytest.fixture(params=CLIENTS, ids=lambda client: client.__name__.lower())
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Client:
    """One client after the other."""
    made: Client = request.param(tmp_path)
    return made


@pytest.fixture(autouse=True)
def _plain(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GADGETOPS_PLAIN_HTTP", host)
