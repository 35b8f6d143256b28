"""`gadgetops pull`: an image of a registry to the store."""

from pathlib import Path

import click

from gadgetops.commands.common.options import verb
from gadgetops.commands.options.key_file_options import public_keys_option
from gadgetops.commands.registry.transfer_options import Transfer, transfer_options
from gadgetops.oci.location import Location, Place
from gadgetops.oci.reference import Reference


@verb(
    "pull",
    example="""\
gadgetops pull trace_malloc
gadgetops pull ghcr.io/me/trace_malloc:v1 --platform linux/arm64
gadgetops pull ghcr.io/me/trace_malloc:v1 --verify release.pub
""",
)
@click.argument("image", metavar="REF")
@public_keys_option(
    "--verify",
    metavar="KEY",
    help="Keep it, and what is attached, only if this public key verifies it; of several, any will do.",
)
@transfer_options
def command(
    image: str,
    key_files: tuple[Path, ...],
    transfer: Transfer,
) -> None:
    """Fetch the image REF from its registry into the store, with its signatures.

    Each byte is checked against its digest before it is kept; what is in the store already is not fetched
    again. Prints REF with its digest.
    """
    reference = Reference.parse(image)
    transfer.run(
        "pull",
        Location(Place.REGISTRY, reference),
        Location(Place.STORE, reference),
        key_files=key_files,
    )
