"""The option `--ig`: by the rules of which version of ig an object is read."""

from collections.abc import Callable
from typing import TypeVar

import click

from gadgetops.bpf.reading import Reading

_F = TypeVar("_F", bound=Callable[..., object])


def ig_version_option(command: _F) -> _F:
    """Add `--ig` to *command*, passed on as `reading`: a `Reading`, or None for the newest."""
    return click.option(
        "--ig",
        "reading",
        metavar="VERSION",
        callback=_parse,
        help="Show what this version of ig shows, where versions differ.  [default: the newest]",
    )(command)


def _parse(_context: click.Context, _parameter: click.Parameter, text: str | None) -> Reading | None:
    return None if text is None else Reading.of_ig(text)
