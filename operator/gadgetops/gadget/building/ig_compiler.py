"""
What `ig image build` compiles with: our toolchain and folders of headers, whatever the version of ig.

ig 0.48.0 reads CLANG, LLVM_STRIP and the `cflags` of build.yaml; later versions read none of them and take
`clang` and `llvm-strip` from PATH. So two scripts of these names are put in front of PATH, which add the
folders with headers. In its container ig looks for headers in the image and in the `include` of
IG_SOURCE_PATH.
"""

import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gadgetops.gadget.building.buildfile import BuildFile
from gadgetops.gadget.building.compile import LocalTools
from gadgetops.gadget.building.toolchain import TARGETS

_SOURCE_PATH: Final = "IG_SOURCE_PATH"
_OWN_HEADERS: Final = "include"


def local_environment(request: BuildFile, scratch: Path) -> dict[str, str]:
    """
    Return the variables by which `ig image build --local` compiles *request* with the headers we would use.

    Args:
        request: What is built.
        scratch: An existing folder for scripts, which lives until ig has ended.

    Raises:
        GadgetOpsError: There is no compiler, or there are no such headers.
    """
    tools = LocalTools.find(request)
    folders = {} if request.source is None else _folders(request, request.source, tools)
    clang = _script(scratch / "clang", _clang_script(_found(tools.toolchain.clang), folders))
    strip = _script(scratch / "llvm-strip", f'exec {shlex.join(_found(tools.toolchain.strip))} "$@"')
    path = os.pathsep.join([str(scratch), os.environ.get("PATH", os.defpath)])
    return {"PATH": path, "CLANG": str(clang), "LLVM_STRIP": str(strip)}


def container_environment(request: BuildFile) -> dict[str, str]:
    """Return the variables by which ig finds the gadget's own `include` in its container."""
    own = request.folder.resolve() / _OWN_HEADERS
    return {} if _SOURCE_PATH in os.environ or not own.is_dir() else {_SOURCE_PATH: str(own.parent)}


def _found(tool: tuple[str, ...]) -> tuple[str, ...]:
    """Return *tool* by its path: by its name, PATH would lead a script of that name to itself."""
    name, *arguments = tool
    return (shutil.which(name) or name, *arguments)


def _folders(request: BuildFile, source: Path, tools: LocalTools) -> dict[str, list[str]]:
    return {each: tools.include_folders(request.folder, source, each) for each in sorted(TARGETS)}


def _clang_script(clang: tuple[str, ...], folders: Mapping[str, list[str]]) -> str:
    """Return a script that runs *clang* with the folders of the architecture it compiles for."""
    cases = [
        f'*__TARGET_ARCH_{TARGETS[architecture]}*) set -- "$@" {shlex.join(f"-I{each}" for each in found)} ;;'
        for architecture, found in folders.items()
    ]
    return "\n".join(['case "$*" in', *cases, "esac", f'exec {shlex.join(clang)} "$@"'])


def _script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path
