"""
A container as target: found through the engine's API, recorded by its own C library and mount namespace.

Any engine that speaks Docker's API will do, podman included, as long as it runs on this machine. Probes on
the library's file reach every process of the container, those that are exec'd into it later included; the
filter by mount namespace keeps out other containers that share the file, which still pay for the probes.
"""

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gadgetops.errors import TargetGone, TraceError
from gadgetops.trace.address_spaces import ModuleTracker
from gadgetops.trace.attachment import Attachment
from gadgetops.trace.kernel.loader import Loader
from gadgetops.trace.probes.allocator import Allocator, allocators_of_process
from gadgetops.trace.processes import all_processes, is_alive, mount_namespace
from gadgetops.trace.targets.base import Target, allocators_of
from gadgetops.trace.targets.newcomers import Newcomers

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.errors import DockerException
    from docker.models.containers import Container

_POLL_S: Final = 0.02
_PODMAN: Final = "/run/podman/podman.sock"
_DOCKER: Final = "/var/run/docker.sock"
_SOCKET: Final = "unix://"
_NO_ENGINE_HINT: Final = "only `--container` needs one: start docker or podman, or set DOCKER_HOST"


class ContainerTarget(Target):
    """
    All processes of one container.

    Args:
        name: Its name or id.
        engine: Address of the engine, as DOCKER_HOST has it; None for DOCKER_HOST or else the local one.
        wait: Wait until it runs, if it does not.
        library: Look for the allocator here first, as the container sees it.

    Raises:
        TraceError: No engine answers, it has no such running container, or it is on another machine.
    """

    def __init__(self, name: str, *, engine: str | None, wait: bool, library: Path | None = None) -> None:
        container = _running(name, engine, wait=wait)
        self._pid = int(container.attrs["State"]["Pid"])
        _check_is_here(container, self._pid)
        namespace = mount_namespace(self._pid)
        if namespace is None:
            raise TargetGone(f"container {name!r}")
        self._namespace = namespace
        self._library = library
        self._newcomers = Newcomers(by_process=False, library=library)
        self.name = str(container.name)
        self.description: dict[str, Any] = {
            "container": {
                "name": self.name,
                "id": container.id,
                "image": container.attrs["Config"]["Image"],
                "image_id": container.attrs["Image"],
                "started_at": container.attrs["State"]["StartedAt"],
            },
            "pid": self._pid,
        }

    def restrict(self, loader: Loader) -> None:
        """Let only the container's mount namespace pass."""
        loader.filter_mount_namespaces([self._namespace])

    def container_of(self, pid: int) -> str | None:
        """Return the container's name if *pid* is in it."""
        return self.name if mount_namespace(pid) == self._namespace else None

    def pids(self) -> Sequence[int]:
        """Return the processes in the container."""
        return [pid for pid in all_processes() if mount_namespace(pid) == self._namespace]

    def counted(self) -> Sequence[Allocator]:
        """Return the allocators of its processes."""
        return allocators_of(self.pids())

    def attach(self, attachment: Attachment, tracker: ModuleTracker) -> None:
        """Put the probes into the files that its processes have their allocators from."""
        self._newcomers.watch(tracker)
        for pid in all_processes():
            if mount_namespace(pid) == self._namespace:
                tracker.follow(pid)
        self._newcomers.update(attachment, tracker)
        if not attachment.attached.programs:
            for allocator in allocators_of_process(self._pid, self._library):
                self._newcomers.add(attachment, allocator)

    def update(self, attachment: Attachment, tracker: ModuleTracker) -> None:
        """Reach processes that have another allocator than those before them."""
        self._newcomers.update(attachment, tracker)
        self.description |= self._newcomers.description()

    def is_alive(self) -> bool:
        """Return whether the container's first process runs."""
        return is_alive(self._pid)


def _running(name: str, engine: str | None, *, wait: bool) -> "Container":
    """Return the container *name* as soon as it runs."""
    from docker.errors import DockerException, NotFound  # noqa: PLC0415 - 0.3 s, for this target alone

    address = engine or os.environ.get("DOCKER_HOST") or _local_engine()
    try:
        client = _client(address)
        while True:
            with contextlib.suppress(NotFound):
                container = client.containers.get(name)
                if container.status == "running":
                    return container
            if not wait:
                raise TraceError(
                    f"no running container {name!r} at {address}", hint="--wait waits until it is started"
                )
            time.sleep(_POLL_S)
    except DockerException as error:
        raise TraceError(
            f"container {name!r}: {_problem(error, address)}",
            hint="give the engine's address with --docker-host or DOCKER_HOST",
        ) from error


def engine_version(engine: str | None) -> str:
    """
    Return the address of the engine and what it says of its version.

    Args:
        engine: As of `ContainerTarget`.

    Raises:
        TraceError: None answers.
    """
    address = _address(engine)
    from docker.errors import DockerException  # noqa: PLC0415 - as above

    try:
        found = _client(address).version()
    except DockerException as error:
        raise TraceError(_problem(error, address), hint=_NO_ENGINE_HINT) from error
    return f"version {found.get('Version', 'unknown')} at {address}"


def running_containers(engine: str | None) -> list[str]:
    """Return the names of the containers that run; arguments and errors as of `engine_version`."""
    address = _address(engine)
    from docker.errors import DockerException  # noqa: PLC0415 - as above

    try:
        return [str(container.name) for container in _client(address).containers.list()]
    except DockerException as error:
        raise TraceError(_problem(error, address), hint=_NO_ENGINE_HINT) from error


def _address(engine: str | None) -> str:
    """Return the engine's address; `TraceError` if its socket is not there."""
    address = engine or os.environ.get("DOCKER_HOST") or _local_engine()
    if address.startswith(_SOCKET) and not Path(address.removeprefix(_SOCKET)).exists():
        raise TraceError(f"no {address.removeprefix(_SOCKET)}", hint=_NO_ENGINE_HINT)
    return address


def _client(address: str) -> "DockerClient":
    from docker import DockerClient  # noqa: PLC0415 - as above

    return DockerClient(base_url=address)


def _problem(error: "DockerException", address: str) -> str:
    """Return what *error* comes to: of a connection that failed the SDK shows only the insides."""
    text = str(error).splitlines()[0]
    is_about_connecting = "fetching server API version" in text
    return f"no engine answers at {address}" if is_about_connecting else f"{address}: {text}"


def _local_engine() -> str:
    """Return the address of podman's socket where there is no docker's."""
    found = next((path for path in (_DOCKER, _PODMAN) if Path(path).exists()), _DOCKER)
    return f"{_SOCKET}{found}"


def _check_is_here(container: "Container", pid: int) -> None:
    """Raise unless process *pid* of this machine belongs to *container*: its engine may be elsewhere."""
    try:
        groups = Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        groups = ""
    if str(container.id) not in groups:
        raise TraceError(
            f"container {container.name!r}: its process {pid} is not on this machine",
            hint="record on the machine that runs the container",
        )
