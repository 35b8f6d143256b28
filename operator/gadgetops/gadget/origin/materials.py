"""What an image was made from: found by making it again, so that nothing is claimed that was not seen."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gadgetops import process
from gadgetops.errors import DigestMismatch, StorageError, ToolError
from gadgetops.gadget.building.build import build
from gadgetops.gadget.building.buildfile import BuildFile
from gadgetops.gadget.building.compile import LocalTools
from gadgetops.gadget.building.created import Created
from gadgetops.gadget.building.toolchain import Toolchain, compiler_options
from gadgetops.oci.image import Image

OTHER_SOURCES: Final = (
    "attest from the folder, commit, CLANG and SOURCE_DATE_EPOCH that the image was built with, "
    "or build and push it anew"
)


@dataclass(frozen=True, slots=True)
class File:
    """
    A file and what is in it.

    Attributes:
        name: Path relative to the gadget's folder; absolute for the compiler's own headers.
        sha256: Of its content, in hexadecimal.
    """

    name: str
    sha256: str


@dataclass(frozen=True)
class Materials:
    """
    All that decided on an image.

    Attributes:
        request: What build.yaml says.
        digest: Of the image's index.
        created: When the image says that it was made.
        architectures: In the order of the image.
        files: What was read: build.yaml, gadget.yaml, the module, the source and each header, sorted by name.
        objects: What was compiled, by the names that ig gives to the files.
        options: By architecture, what the compiler was told.
        tools: By name, the first line of what each tool says of its version.
        commit: The git commit that last changed the files; None if they are not in git as they are here.
    """

    request: BuildFile
    digest: str
    created: Created
    architectures: tuple[str, ...]
    files: tuple[File, ...]
    objects: tuple[File, ...]
    options: dict[str, list[str]]
    tools: dict[str, str]
    commit: str | None

    @classmethod
    def of(cls, image: Image, request: BuildFile) -> "Materials":
        """
        Build *request* again for the architectures of *image* and return what it is made from.

        Raises:
            DigestMismatch: What comes out is not *image*: it was made from something else, or otherwise.
            GadgetOpsError: It cannot be built (`build`).
        """
        built = build(request, image.architectures)
        if built.image.index.digest != image.digest:
            what = f"{request.folder}: built again for {image.reference}"
            actual = built.image.index.digest
            raise DigestMismatch(what, expected=image.digest, actual=actual, hint=OTHER_SOURCES)
        inputs = sorted({*built.inputs, *_build_file(request)})
        has_source = request.source is not None
        tools = LocalTools.find(request) if has_source else None
        aliases = tools.aliases if tools else {}
        return cls(
            request=request,
            digest=image.digest,
            created=built.created,
            architectures=image.architectures,
            files=tuple(File(_public(str(path), aliases), _sha256(request.folder / path)) for path in inputs),
            objects=tuple(
                File(name, hashlib.sha256(content).hexdigest()) for name, content in built.objects.items()
            ),
            options=_options(request, tools, image.architectures) if tools else {},
            tools=_tools() if has_source else {},
            commit=_commit(request.folder, inputs),
        )


def _build_file(request: BuildFile) -> list[Path]:
    if request.path is None:
        return []
    path, folder = request.path.resolve(), request.folder.resolve()
    return [path.relative_to(folder) if path.is_relative_to(folder) else path]


def _options(request: BuildFile, tools: LocalTools, architectures: Sequence[str]) -> dict[str, list[str]]:
    source = request.source or Path()
    found = {}
    for each in architectures:
        includes = tools.include_folders(request.folder, source, each)
        public = [_public(include, tools.aliases) for include in includes]
        found[each] = compiler_options(each, public, request.cflags)
    return found


def _public(path: str, aliases: Mapping[str, str]) -> str:
    """Return what *path* is called wherever it lies: headers of a module by the module's name and version."""
    for place, alias in aliases.items():
        if path == place or path.startswith(f"{place}/"):
            return alias + path.removeprefix(place)
    return path


def _tools() -> dict[str, str]:
    """Return what the tools call themselves; where they lie says nothing of what they do."""
    tools = Toolchain.find()
    return {"clang": _version(tools.clang), "llvm-strip": _version(tools.strip)}


def _version(command: Sequence[str]) -> str:
    lines = process.run([*command, "--version"]).splitlines()
    return next((line.strip() for line in lines if "version" in line), "unknown")


def _commit(folder: Path, inputs: Iterable[Path]) -> str | None:
    own = [str(path) for path in inputs if not path.is_absolute() and ".." not in path.parts]
    git = ["git", "--literal-pathspecs"]
    try:
        if process.run([*git, "status", "--porcelain", "--ignored", "--", *own], cwd=folder).strip():
            return None
        return process.run([*git, "log", "-1", "--format=%H", "--", *own], cwd=folder).strip() or None
    except ToolError:
        return None  # no git, or no repository, or not one this user trusts


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError.from_os_error(error, path) from error
