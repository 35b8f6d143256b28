"""Options of the verbs that compile: where headers come from."""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from gadgetops.gadget.building.buildfile import BuildFile

Change = Callable[[BuildFile], BuildFile]

_OPTIONS = (
    click.option(
        "--headers",
        metavar="DIR|VERSION|IMAGE",
        help="Compile with ig's headers: a folder's, those of a version such as v0.55.1 (fetched by go), or "
        "an image's.  [default: build.yaml's `headers`, or $IG_SOURCE_PATH]",
    ),
    click.option(
        "-I",
        "--include",
        "includes",
        metavar="DIR",
        multiple=True,
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="Look for headers here first; may be repeated.",
    ),
    click.option(
        "--btf",
        metavar="FILE",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="Make a missing vmlinux.h of this kernel's BTF.  [default: this machine's]",
    ),
)


def header_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the function gets `with_headers`, which returns what to build with them in force."""

    @functools.wraps(function)
    def decorated(
        *arguments: Any, headers: str | None, includes: tuple[Path, ...], btf: Path | None, **others: Any
    ) -> Any:
        def with_headers(request: BuildFile) -> BuildFile:
            return replace(
                request,
                headers=headers or request.headers,
                includes=(*includes, *request.includes),
                btf=btf or request.btf,
            )

        return function(*arguments, with_headers=with_headers, **others)

    return functools.reduce(lambda made, option: option(made), reversed(_OPTIONS), decorated)
