"""Debian's docker-registry on a loopback port: open, with htpasswd, with a token service, with TLS."""

import contextlib
import http.client
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

USERNAME, PASSWORD = "alice", "open sesame: ü"


@dataclass(frozen=True)
class RunningRegistry:
    """A registry that runs: its host with port, and the folder of its files."""

    host: str
    folder: Path

    @property
    def log(self) -> str:
        """What it logged so far."""
        return (self.folder / "log").read_text()


def need(program: str) -> str:
    """Return the path of *program*, or skip the test by its name."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"no `{program}` on PATH")
    return path


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running_registry(
    folder: Path, *, port: int | None = None, ca_file: Path | None = None, **sections: Mapping[str, Any]
) -> Iterator[RunningRegistry]:
    """
    Run a registry that keeps its files in *folder*.

    Args:
        folder: Made if need be; what is there from an earlier run is served again.
        port: Where to listen; a free one if none is given.
        ca_file: What signed its certificate, if it speaks TLS.
        sections: More of its configuration: `auth={…}`, `http={…}`.
    """
    program = need("docker-registry")
    folder.mkdir(parents=True, exist_ok=True)
    host = f"127.0.0.1:{port or free_port()}"
    configuration = {
        "version": 0.1,
        "log": {"level": "info"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        **sections,
        "http": {"addr": host, "secret": "0", **sections.get("http", {})},
    }
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump(configuration))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", path], stdout=log, stderr=log)
    try:
        _wait_until_it_answers(host, ca_file, process)
        yield RunningRegistry(host, folder)
    finally:
        process.terminate()
        process.wait(10)


def _wait_until_it_answers(host: str, ca_file: Path | None, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while True:
        assert process.poll() is None, "the registry ended"
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            contextlib.closing(_connect(host, ca_file)) as it,
        ):
            it.request("GET", "/v2/")
            it.getresponse()
            return
        assert time.monotonic() < deadline, "the registry does not answer"
        time.sleep(0.05)


def _connect(host: str, ca_file: Path | None) -> http.client.HTTPConnection:
    if ca_file is None:
        return http.client.HTTPConnection(host, timeout=5)
    return http.client.HTTPSConnection(host, timeout=5, context=ssl.create_default_context(cafile=ca_file))


def htpasswd(folder: Path) -> dict[str, Any]:
    """Return the section `auth` of a registry that knows `USERNAME` and `PASSWORD` alone."""
    made = subprocess.run(
        [need("htpasswd"), "-Bbn", USERNAME, PASSWORD], check=True, capture_output=True
    ).stdout
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "htpasswd").write_bytes(made)
    return {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
