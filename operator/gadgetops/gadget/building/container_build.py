"""Compiling in a container, of any image with clang, llvm-strip and a shell; by default ig's own."""

import io
import os
import shlex
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gadgetops.errors import EngineError, ToolError
from gadgetops.gadget.building.compile import DEPENDENCY_FILE, OBJECT_FILE, Output, compile_arguments
from gadgetops.gadget.building.pack import IG_VERSION
from gadgetops.gadget.building.toolchain import own_include_folders

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container
    from docker.models.images import Image

DEFAULT_IMAGE: Final = f"ghcr.io/inspektor-gadget/gadget-builder:{IG_VERSION}"
"""What ig of that version builds in: clang, libbpf's headers, and ig's own."""

TIMEOUT_S: Final = 600

_SOURCE: Final = "/gadget"
_OUTPUT: Final = "/gadget-output"
_MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
_NOT_FOUND: Final = 127


@dataclass(frozen=True)
class ContainerTools:
    """
    The clang and llvm-strip of an image, run without network on a folder that they can only read.

    What they make comes back through the engine's API, so it belongs to the caller, whoever the engine
    runs as.

    Attributes:
        client: The engine.
        image: The image.
        name: What it was asked for as.
    """

    client: "DockerClient"
    image: "Image"
    name: str
    sees_this_machine: bool = False

    @classmethod
    def open(cls, name: str, pull: str) -> "ContainerTools":
        """
        Return the tools in the image *name* of the engine that DOCKER_HOST names, or of the local one.

        Args:
            name: An image, as the engine names it.
            pull: When to ask a registry: `"always"`, if it is `"missing"`, or `"never"`, as ig has it.

        Raises:
            EngineError: No engine answers, or it has no such image.
        """
        import docker  # noqa: PLC0415 - takes 0.2 s, and only this needs it

        with _engine_errors("connecting", hint="start one, set DOCKER_HOST, or pass --builder local"):
            client = docker.from_env(timeout=TIMEOUT_S)
        return cls(client, _image(client, name, pull), name)

    @property
    def identity(self) -> str:
        """The image's id, which is the digest of all that is in it."""
        return f"container {self.image.id}"

    def include_folders(self, folder: Path, source: Path, architecture: str) -> list[str]:
        """Return the gadget's own folders that exist, and the image's, whether they exist or not."""
        machine = _MACHINES.get(self.image.attrs.get("Architecture", ""), "x86_64")
        own = own_include_folders(folder, source, architecture)
        return [*own, f"/usr/include/{machine}-linux-gnu", f"/usr/include/gadget/{architecture}"]

    def compile(self, folder: Path, source: Path, options: Sequence[str]) -> Output:
        """
        Compile *source* in a container of its own, which is removed.

        Raises:
            ToolError: It does not compile, or the image lacks a tool.
            EngineError: The engine cannot run it.
        """
        clang = ["clang", *compile_arguments(source, options, root=_SOURCE, output=_OUTPUT)]
        strip = ["llvm-strip", "-g", f"{_OUTPUT}/{OBJECT_FILE}"]
        hint = "the folder must be on the machine of the engine, and the image must have a shell"
        with (
            _engine_errors(f"running {self.name}", hint=hint),
            self._container(folder, f"{shlex.join(clang)} && {shlex.join(strip)}") as container,
        ):
            container.put_archive("/", _output_folder())
            container.start()
            status = int(container.wait(timeout=TIMEOUT_S)["StatusCode"])
            messages = container.logs().decode(errors="replace")
            if status != 0:
                raise self._failure(status, messages)
            return Output(
                _file_in(container, OBJECT_FILE),
                _file_in(container, DEPENDENCY_FILE).decode(errors="surrogateescape"),
                messages,
            )

    def archive(self, path: str) -> bytes | None:
        """Return a tar file of *path* in the image, None if it holds no such file or folder."""
        from docker.errors import NotFound  # noqa: PLC0415

        with _engine_errors(f"reading {path} of {self.name}"):
            container = self.client.containers.create(self.image, command=["true"], network_mode="none")
            try:
                chunks, _ = container.get_archive(path)
                return b"".join(chunks)
            except NotFound:
                return None
            finally:
                container.remove(force=True)

    @contextmanager
    def _container(self, folder: Path, script: str) -> Iterator["Container"]:
        from docker.types import LogConfig, Mount  # noqa: PLC0415

        environment = {name: os.environ[name] for name in ("SOURCE_DATE_EPOCH",) if name in os.environ}
        container = self.client.containers.create(
            self.image,
            entrypoint=["sh", "-c"],
            command=[script],
            environment=environment,
            working_dir=_SOURCE,
            mounts=[Mount(_SOURCE, str(folder.resolve()), type="bind", read_only=True)],
            user=f"{os.geteuid()}:{os.getegid()}",
            network_mode="none",
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            log_config=LogConfig(type="json-file"),
        )
        try:
            yield container
        finally:
            container.remove(force=True)

    def _failure(self, status: int, messages: str) -> ToolError:
        tool = "llvm-strip" if "llvm-strip:" in messages else "clang"
        hint = f"{self.name} has no such tool: pass another --builder-image" if status == _NOT_FOUND else None
        return ToolError([tool], status=status, output=messages, hint=hint)


def _image(client: "DockerClient", name: str, pull: str) -> "Image":
    from docker.errors import ImageNotFound  # noqa: PLC0415

    hint = "log in with `docker login`, or name an image that is there with --builder-image"
    if pull == "always":
        with _engine_errors(f"pulling {name}", hint=hint):
            return client.images.pull(name)
    try:
        with _engine_errors(f"looking for {name}"):
            return client.images.get(name)
    except EngineError as error:
        if not isinstance(error.__cause__, ImageNotFound):
            raise
        if pull == "never":
            raise EngineError(name, "no such image, and --pull never", hint="pass --pull missing") from error
    with _engine_errors(f"pulling {name}", hint=hint):
        return client.images.pull(name)


@contextmanager
def _engine_errors(what: str, *, hint: str | None = None) -> Iterator[None]:
    from docker.errors import APIError, DockerException  # noqa: PLC0415
    from requests import RequestException  # noqa: PLC0415

    try:
        yield
    except (DockerException, RequestException) as error:
        reason = error.explanation if isinstance(error, APIError) and error.explanation else str(error)
        raise EngineError(what, str(reason)[:2000], hint=hint) from error


def _output_folder() -> bytes:
    """Return a tar file with an empty folder that the caller's user may write to inside the container."""
    folder = tarfile.TarInfo(_OUTPUT.lstrip("/"))
    folder.type, folder.mode = tarfile.DIRTYPE, 0o700
    folder.uid, folder.gid = os.geteuid(), os.getegid()
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(folder)
    return stream.getvalue()


def _file_in(container: "Container", name: str) -> bytes:
    chunks, _ = container.get_archive(f"{_OUTPUT}/{name}")
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        member = archive.next()
        content = None if member is None else archive.extractfile(member)
        if content is None:
            raise EngineError(f"reading {name}", "the container made no such file")
        return content.read()
