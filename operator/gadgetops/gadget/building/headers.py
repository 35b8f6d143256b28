"""
Header sets: ig's headers, a dependency of what people write against them.

A set is a folder, an image that has them (ig's builder), or a version of ig's module, fetched by Go's own
client through whichever proxy it is set to. Beside them lie two that are made here: what libbpf's headers
before 1.2 lack, and `vmlinux.h` of a kernel's BTF.
"""

import hashlib
import io
import json
import os
import platform
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from gadgetops import process
from gadgetops.errors import DigestMismatch, EngineError, StorageError, ToolError, UsageError
from gadgetops.folders import cache_folder

MODULE: Final = "github.com/inspektor-gadget/inspektor-gadget"
"""Go's name for ig, of which a version stands for its headers."""

SOURCE_VARIABLE: Final = "IG_SOURCE_PATH"
"""Names a folder with ig's source, for ig and for us."""

MACHINE_BTF: Final = Path("/sys/kernel/btf/vmlinux")
WAYS: Final = (
    f"they are ig's: pass --headers v0.55.1 (or another version, fetched by go), --headers DIR, "
    f"--headers IMAGE of ig's builder, or set {SOURCE_VARIABLE}"
)
"""What to do where ig's headers are missing."""

VMLINUX_WAYS: Final = "pass --headers (ig's have it for both architectures), or --btf with a kernel's BTF"

_VERSION: Final = re.compile(r"(?:(?P<module>[a-z0-9.-]+\.[a-z]+/[^@\s]+)@)?(?P<version>v?\d+\.\d+\.\d+\S*)")
_MARK: Final = Path("gadget") / "macros.h"
_IN_IMAGE: Final = ("/usr/include/gadget", "/usr/include/bpf")
_INCLUDES_VMLINUX: Final = re.compile(rb'^\s*#\s*include\s*[<"]vmlinux\.h[>"]', re.MULTILINE)
_HOSTS: Final = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class HeaderSet:
    """
    Headers that a gadget is compiled with.

    Attributes:
        folder: Where `gadget/macros.h` lies.
        name: What they are, wherever they lie here: a module and its sum, an image and its id, a folder.
    """

    folder: Path
    name: str

    @classmethod
    def find(cls, wanted: str) -> "HeaderSet":
        """
        Return the headers that *wanted* names.

        Args:
            wanted: A folder, with or without `include` inside; a version (`v0.55.1`, `MODULE@v0.55.1`), with
                the sum that it must have behind a blank if that is known; or an image.

        Raises:
            UsageError: The folder has none.
            ToolError: go is missing, or the proxy refuses.
            DigestMismatch: The module has another sum.
            EngineError: No container engine, or the image has none.
        """
        place, _, wanted_sum = wanted.strip().partition(" ")
        if Path(place).is_dir():
            return cls(_include_folder(Path(place)), str(Path(place)))
        found = _VERSION.fullmatch(place)
        if found:
            version = found["version"]
            return _of_module(
                found["module"] or MODULE, version if version[0] == "v" else f"v{version}", wanted_sum.strip()
            )
        if place.startswith((".", "/", "~")):
            raise UsageError(f"--headers {place}: no such folder", hint=WAYS)
        return _of_image(place)

    def folders(self, architecture: str) -> list[str]:
        """Return where its headers are looked up for *architecture*."""
        return [str(self.folder), str(self.folder / "gadget" / architecture)]


def of_environment() -> str | None:
    """Return the folder that `IG_SOURCE_PATH` names, None if it is not set."""
    return os.environ.get(SOURCE_VARIABLE) or None


def compatibility_folder() -> str:
    """Return the folder with what older headers of libbpf lack; each of its files includes theirs first."""
    return str(resources.files(__package__) / "compat")


def generated_vmlinux(architecture: str, btf: Path | None, sources: Iterable[Path]) -> Path | None:
    """
    Return a folder with a `vmlinux.h` made by bpftool, None if no source includes one or there is no BTF.

    Args:
        architecture: What it is for.
        btf: A kernel's BTF; this machine's by default, for its own architecture.
        sources: What is compiled, and the headers beside it.

    Raises:
        ToolError: bpftool is missing, or *btf* is none.
        StorageError: It cannot be read or kept.
    """
    is_own = _HOSTS.get(platform.machine()) == architecture
    origin = btf or (MACHINE_BTF if is_own and MACHINE_BTF.exists() else None)
    if origin is None or not any(_includes_vmlinux(source) for source in sources):
        return None
    try:
        with origin.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError.from_os_error(error, origin) from error
    folder = cache_folder("headers") / "btf" / digest
    if not (folder / "vmlinux.h").exists():
        hint = "install bpftool (Debian: bpftool, others: bpf-tools or linux-tools), or pass --headers"
        text = process.run(["bpftool", "btf", "dump", "file", str(origin), "format", "c"], hint=hint)
        _keep(folder, {"vmlinux.h": text.encode()})
    return folder


def _includes_vmlinux(source: Path) -> bool:
    try:
        return bool(_INCLUDES_VMLINUX.search(source.read_bytes()))
    except OSError:
        return False


def _include_folder(folder: Path) -> Path:
    for candidate in (folder, folder / "include", folder / "usr" / "include"):
        if (candidate / _MARK).is_file():
            return candidate.resolve()
    raise UsageError(f"--headers {folder}: holds no {_MARK}", hint=WAYS)


def _of_module(module: str, version: str, wanted_sum: str) -> HeaderSet:
    name = f"{module}@{version}"
    with tempfile.TemporaryDirectory(prefix="gadgetops-") as scratch:
        try:
            answer = process.run(["go", "mod", "download", "-json", name], cwd=Path(scratch), hint=WAYS)
        except ToolError as error:
            raise _refusal(error, name) from error
    found = _parsed(answer)
    if wanted_sum and found.get("Sum") != wanted_sum:
        raise DigestMismatch(name, expected=wanted_sum, actual=str(found.get("Sum")))
    return HeaderSet(_include_folder(Path(found["Dir"])), f"{name} {found.get('Sum', '')}".rstrip())


def _parsed(answer: str) -> dict[str, Any]:
    try:
        found = json.loads(answer)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _refusal(error: ToolError, name: str) -> ToolError:
    """Return *error* with what go says of the proxy, which stands in its answer and not in its messages."""
    if error.status is None:
        return error
    hint = f"GOPROXY names the proxy that refuses {name}; pass --headers DIR or IMAGE instead"
    said = _parsed(error.output).get("Error") or error.output
    return ToolError(["go mod download"], status=error.status, output=str(said), hint=hint)


def _of_image(name: str) -> HeaderSet:
    from gadgetops.gadget.building.container_build import ContainerTools  # noqa: PLC0415

    tools = ContainerTools.open(name, "missing")
    identity = str(tools.image.id)
    folder = cache_folder("headers") / "images" / identity.partition(":")[2]
    if not (folder / "include" / _MARK).is_file():
        archives = [archive for path in _IN_IMAGE if (archive := tools.archive(path)) is not None]
        _keep(folder, _headers_in(archives))
    if not (folder / "include" / _MARK).is_file():
        raise EngineError(name, f"the image holds no {_IN_IMAGE[0]}/macros.h", hint=WAYS)
    return HeaderSet(folder / "include", f"{name}@{identity}")


def _headers_in(archives: Iterable[bytes]) -> dict[str, bytes]:
    """Return the regular files of tar *archives*, each below `include`."""
    found: dict[str, bytes] = {}
    for data in archives:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None and ".." not in Path(member.name).parts:
                    found[f"include/{member.name.lstrip('/')}"] = content.read()
    return found


def _keep(folder: Path, contents: dict[str, bytes]) -> None:
    """Have *contents* in *folder*, all of them or none, whoever does the same at the same time."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent))
        for name, content in contents.items():
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            (scratch / name).write_bytes(content)
        scratch.chmod(0o755)
        try:
            scratch.rename(folder)
        except OSError:
            shutil.rmtree(scratch)
            if not folder.is_dir():
                raise
    except OSError as error:
        raise StorageError.from_os_error(error, folder) from error
