"""`--key`: which files hold the keys; `key_option`, which reads them, loads more than a help screen may."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_FILE = click.Path(path_type=Path)


def private_key_option(help: str, *, required: bool = False) -> _Decorator:  # noqa: A002
    """Return `--key FILE`, as the argument `key_file`, None where it may be left out and is."""
    return click.option("-k", "--key", "key_file", metavar="FILE", type=_FILE, required=required, help=help)


def public_keys_option(*names: str, metavar: str, help: str, required: bool = False) -> _Decorator:  # noqa: A002
    """Return the option *names*, several files of public keys, as the argument `key_files`."""
    return click.option(
        *names, "key_files", metavar=metavar, type=_FILE, multiple=True, required=required, help=help
    )
