"""`--plain-http`, `--ca-file`, `--authfile`: how registries are reached, for every verb that asks one."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gadgetops.oci.registry.access import Access

PLAIN_HTTP_VARIABLE = "GADGETOPS_PLAIN_HTTP"

_plain_http = click.option(
    "--plain-http",
    "plain_http",
    metavar="HOST[:PORT]",
    multiple=True,
    envvar=PLAIN_HTTP_VARIABLE,
    show_envvar=True,
    help="A registry that speaks HTTP without TLS; may be given several times.",
)
_ca_file = click.option(
    "--ca-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Certificates (PEM) to trust besides the system's.",
)
_authfile = click.option(
    "--authfile",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Credentials, instead of $REGISTRY_AUTH_FILE, ig's or docker's.",
)


def registry_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to *function*, which gets what they say as the argument `access`."""

    @functools.wraps(function)
    def with_access(
        *arguments: Any,
        plain_http: tuple[str, ...],
        ca_file: Path | None,
        authfile: Path | None,
        **options: Any,
    ) -> Any:
        access = Access(plain_http=frozenset(plain_http), ca_file=ca_file, authfile=authfile)
        return function(*arguments, access=access, **options)

    return _plain_http(_ca_file(_authfile(with_access)))
