"""What of this machine images need: the gadget that comes with this package, a compiler, headers, `ig`."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gadgetops.errors import UsageError
from gadgetops.findings import Finding, asked
from gadgetops.folders import checkout
from gadgetops.gadget.building.toolchain import SYSTEM_INCLUDES, Toolchain
from gadgetops.gadget.reading.own_images import existing_images, own_image
from gadgetops.gadget.reading.subject import host_architecture
from gadgetops.oci.layout.store import store_path
from gadgetops.system_packages import how_to_install

_GADGET: Final = "trace_malloc"
_HEADERS: Final = "bpf/bpf_helpers.h"


def image_findings(store: str) -> Iterator[Finding]:
    """
    Yield what was found; nothing is compiled.

    Args:
        store: As for `oci.store.open_store`.
    """
    compiler = asked("images", "compiler", _compiler, otherwise="limited")
    yield _gadget(compiler)
    yield compiler
    yield _headers()
    yield asked("images", "store", lambda: str(store_path(store)), otherwise="limited")
    found = shutil.which("ig")
    detail = f"{found}: a second witness, and `record --engine ig`" if found else "not on PATH"
    yield Finding("images", "ig", "works" if found else "limited", detail, None if found else _IG_HINT)


_IG_HINT: Final = "nothing to do: only `--engine ig` needs it"


def _gadget(compiler: Finding) -> Finding:
    if checkout() is not None and not existing_images():
        detail = "this checkout builds it when it is first needed"
        if compiler.state == "works":
            return Finding("recording", "gadget", "works", detail, is_needed=True)
        return Finding("recording", "gadget", "missing", detail, compiler.remedy, is_needed=True)
    return asked("recording", "gadget", _own_gadget, is_needed=True)


def _own_gadget() -> str:
    image = own_image(_GADGET)
    architecture = host_architecture()
    if architecture not in image.architectures:
        raise UsageError(f"none for {architecture}", hint=f"record on {' or '.join(image.architectures)}")
    return f"{_GADGET} for {architecture}, {image.digest[:19]}"


def _compiler() -> str:
    return Toolchain.find().version.splitlines()[0]


def _headers() -> Finding:
    paths = (Path(each) / _HEADERS for each in SYSTEM_INCLUDES)
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        return Finding("images", "libbpf's headers", "limited", f"no {_HEADERS}", how_to_install("clang"))
    return Finding("images", "libbpf's headers", "works", str(found.parent))
