"""build.yaml: what a gadget is built from, and where that lies."""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gadgetops.errors import MetadataError, StorageError, UsageError
from gadgetops.gadget.building.wasm_source import SUFFIXES, compile_module
from gadgetops.gadget.documents.document import Document, read_bounded
from gadgetops.gadget.documents.problems import raise_if_any
from gadgetops.gadget.documents.validate import load_schema, problems

DEFAULT_NAME: Final = "build.yaml"


@dataclass(frozen=True)
class BuildFile:
    """
    What to build a gadget from, with ig's rules: a default file may be missing, a named one may not.

    Attributes:
        folder: The gadget's folder; the paths below are relative to it (or absolute, as written).
        path: The build.yaml; None if there is none.
        source: The C source; None for a gadget without programs.
        metadata: The gadget.yaml; it may be missing. None if build.yaml names none.
        wasm: A module that is packed as it is, or its source in Go or Rust, or None.
        cflags: Further compiler options; `@ARCH@` stands for the architecture.
        headers: Which of ig's headers it is compiled with (`headers.HeaderSet.find`); None for what is there.
        includes: Further folders with headers, as clang's -I has them.
        btf: A kernel's BTF that vmlinux.h is made of where there is none; None for this machine's.
        warnings: What ig passes over in the build.yaml, a sentence each.
    """

    folder: Path
    path: Path | None
    source: Path | None
    metadata: Path | None
    wasm: Path | None
    cflags: tuple[str, ...]
    headers: str | None = None
    includes: tuple[Path, ...] = ()
    btf: Path | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path, file: Path | None = None) -> "BuildFile":
        """
        Return what the gadget in *folder* is built from.

        Args:
            folder: The gadget's folder.
            file: A build.yaml, relative to the working directory; by default the one in *folder*, if any.

        Raises:
            MetadataError: The build.yaml is none, or names what is not there.
            StorageError: The build.yaml cannot be read.
            UsageError: *folder* is no folder, or holds nothing to build.
        """
        if not folder.is_dir():
            raise UsageError(f"{folder}: not a folder")
        path = file or folder / DEFAULT_NAME
        if file is None and not path.exists():
            return cls._from_settings(folder, None, {})
        document = Document.from_bytes(read_bounded(path, str(path)), str(path), may_be_empty=True)
        found = problems(document, "build")
        raise_if_any(document, [each for each in found if not each.is_harmless])
        known = load_schema("build")["properties"]
        given = (key for key in document.texts if key in known and document.value[key] is not None)
        settings = {key: document.texts[key] for key in given}
        ignored = [each.sentence(document) for each in found]
        if settings.get("cflags"):
            ignored.append(f"{path}: cflags: used here, and ignored by `ig image build` since 0.48.1")
        return replace(cls._from_settings(folder, path, settings), warnings=tuple(ignored))

    @classmethod
    def _from_settings(cls, folder: Path, path: Path | None, given: dict[str, str]) -> "BuildFile":
        name = DEFAULT_NAME if path is None else str(path)
        settings = {key: rule["default"] for key, rule in load_schema("build")["properties"].items()} | given
        build = cls(
            folder=folder,
            path=path,
            source=_source(folder, name, settings["ebpfsource"], must_exist="ebpfsource" in given),
            metadata=_path(settings["metadata"]),
            wasm=_wasm(folder, name, settings["wasm"]),
            cflags=_options(name, settings["cflags"]),
            headers=_headers(folder, settings["headers"]),
        )
        if not build._has_anything():
            names = [settings[key] for key in ("ebpfsource", "metadata") if settings[key]]
            raise UsageError(
                f"{folder}: nothing to build: no {', no '.join([*names, 'wasm module'])}",
                hint="name the gadget's folder, or its sources in a build.yaml",
            )
        return build

    def read_metadata(self) -> bytes | None:
        """
        Return the bytes of gadget.yaml; None if there is none.

        Raises:
            MetadataError: It is too large to be one.
            StorageError: It is there but cannot be read.
        """
        if self.metadata is None:
            return None
        path = self.folder / self.metadata
        return read_bounded(path, str(self.metadata)) if path.exists() else None

    def read_wasm(self) -> bytes | None:
        """
        Return the bytes of the wasm module, compiled if it is source; None if the gadget has none.

        Raises:
            StorageError: It cannot be read.
            ToolError: It does not compile, or there is no toolchain.
        """
        if self.wasm is None:
            return None
        path = self.folder / self.wasm
        if path.suffix in SUFFIXES:
            return compile_module(path)
        try:
            return path.read_bytes()
        except OSError as error:
            raise StorageError.from_os_error(error, path) from error

    def _has_anything(self) -> bool:
        has_metadata = self.metadata is not None and (self.folder / self.metadata).is_file()
        return bool(self.source or self.wasm or has_metadata)


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _source(folder: Path, document: str, text: str, *, must_exist: bool) -> Path | None:
    source = _path(text)
    if source is None or (folder / source).is_file():
        return source
    if must_exist:
        raise MetadataError(document, "ebpfsource", f"{text!r}: no such file in {folder}")
    return None


def _wasm(folder: Path, document: str, text: str) -> Path | None:
    module = _path(text)
    if module is None:
        return None
    if module.suffix not in (".wasm", *SUFFIXES):
        raise MetadataError(
            document, "wasm", f"{text!r}: expected a module (*.wasm) or its source in Go or Rust (*.go, *.rs)"
        )
    if not (folder / module).is_file():
        raise MetadataError(document, "wasm", f"{text!r}: no such file in {folder}")
    return module


def _headers(folder: Path, text: str) -> str | None:
    """Return *text*; a folder is meant relative to the gadget's."""
    return str(folder / text) if text and (folder / text).is_dir() else text or None


def _options(document: str, text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise MetadataError(document, "cflags", str(error).lower()) from error
