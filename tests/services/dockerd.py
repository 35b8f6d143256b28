"""
A Docker engine of the tests' own: Debian's dockerd with everything it keeps in one folder, and no network.

Images are made of files of this machine; nothing is pulled.
"""

import contextlib
import io
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import docker
import pytest
from docker.errors import APIError, DockerException

START_TIMEOUT_S = 60
ROOTS = {PurePosixPath("/"), PurePosixPath()}
NEEDED = ("dockerd", "containerd", "runc")
OPTIONS = ("--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs")


class Engine:
    """
    A running engine.

    Attributes:
        address: As DOCKER_HOST has it.
        client: Of the Docker SDK.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.client = docker.DockerClient(base_url=address)

    def make_image(self, name: str, files: Mapping[str, Path]) -> str:
        """Make the image *name* of files, by their paths in it; links are followed."""
        self.client.api.import_image_from_data(_tar(files), repository=name)
        return name

    @contextlib.contextmanager
    def running(self, image: str, *command: object, **options: Any) -> Iterator[Any]:
        """A container without network that runs *command*, and is removed afterwards."""
        argv = [str(word) for word in command]
        container = self.client.containers.run(image, argv, detach=True, network_mode="none", **options)
        try:
            yield container
        finally:
            container.remove(force=True)


def _tar(files: Mapping[str, Path]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        # Folders that an archive leaves out get the mode 0600: only root with all its rights enters them.
        for folder in sorted({parent for path in files for parent in PurePosixPath(path).parents} - ROOTS):
            entry = tarfile.TarInfo(str(folder).lstrip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for path, source in files.items():
            archive.add(source.resolve(), path.lstrip("/"))
    return stream.getvalue()


def libraries_of(program: Path) -> dict[str, Path]:
    """Return what *program* loads, by the paths under which it looks for them."""
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    words = (word for line in listing.splitlines() for word in line.split() if word.startswith("/"))
    return {word: Path(word) for word in words}


@contextlib.contextmanager
def running_engine() -> Iterator[Engine]:
    """Start an engine and stop it afterwards, with its containers and all that it kept."""
    # Not pytest's folder: the path of a socket may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="dockerd-"))
    address = f"unix://{folder}/docker.sock"
    places = [f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid"]
    with (folder / "log").open("w") as log:
        daemon = subprocess.Popen(
            ["dockerd", "--host", address, *places, *OPTIONS], stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield _answering(address, daemon, folder / "log")
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(START_TIMEOUT_S)
            _unmount_below(folder)
            shutil.rmtree(folder, ignore_errors=True)


def _answering(address: str, daemon: subprocess.Popen[bytes], log: Path) -> Engine:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and daemon.poll() is None:
        with contextlib.suppress(DockerException, APIError, OSError):
            engine = Engine(address)
            engine.client.ping()
            return engine
        time.sleep(0.1)
    raise RuntimeError(f"dockerd does not answer: {log.read_text()[-2000:]}")


def _unmount_below(folder: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in sorted((mount for mount in mounts if mount.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False)


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[Engine]:
    """An engine for all tests of this run; a machine without Docker skips by name."""
    missing = [tool for tool in NEEDED if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"no engine: {', '.join(missing)} not on PATH" if missing else "dockerd needs root")
    with running_engine() as engine:
        yield engine
