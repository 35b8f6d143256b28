"""`gadgetops logout`: forget who we were at a registry."""

from pathlib import Path

import click

from gadgetops.commands.common import messages
from gadgetops.commands.common.options import verb
from gadgetops.commands.registry.login import parse_registry
from gadgetops.oci.registry.credentials import AuthFile, login_file


@verb("logout", example="gadgetops logout ghcr.io")
@click.argument("registry", metavar="HOST[:PORT]")
@click.option(
    "--authfile",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where to forget it, instead of where `login` keeps it.",
)
def command(registry: str, authfile: Path | None) -> None:
    """Forget the name and password of a registry, in the file and the helper where `login` keeps them."""
    host, path = parse_registry(registry), login_file(authfile)
    if AuthFile.read(path).erase(host):
        messages.say(f"logged out of {host}; forgotten in {path}")
    else:
        messages.say(f"not logged in to {host}: {path} knows nothing of it")
