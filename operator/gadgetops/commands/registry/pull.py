"""`gadgetops pull`: an image of a registry to the store."""

from pathlib import Path

import click

from gadgetops.commands.common.options import verb
from gadgetops.commands.options.registry_options import registry_options
from gadgetops.commands.options.store_option import store_option
from gadgetops.commands.registry.transfer_options import platform_option, referrers_option, transfer
from gadgetops.oci.location import Location, Place
from gadgetops.oci.reference import Reference
from gadgetops.oci.registry.access import Access


@verb(
    "pull",
    example="""\
gadgetops pull trace_malloc
gadgetops pull ghcr.io/me/trace_malloc:v1 --platform linux/arm64
gadgetops pull ghcr.io/me/trace_malloc:v1 --verify release.pub
""",
)
@click.argument("image", metavar="REF")
@click.option(
    "--verify",
    "key_files",
    metavar="KEY",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Keep it, and what is attached, only if this public key verifies it; of several, any will do.",
)
@platform_option
@referrers_option
@registry_options
@store_option
def command(
    image: str,
    key_files: tuple[Path, ...],
    platforms: tuple[str, ...],
    with_referrers: bool,
    store: str,
    access: Access,
) -> None:
    """Fetch the image REF from its registry into the store, with its signatures.

    Each byte is checked against its digest before it is kept; what is in the store already is not fetched
    again. Prints REF with its digest.
    """
    reference = Reference.parse(image)
    transfer(
        "pull",
        Location(Place.REGISTRY, reference),
        Location(Place.STORE, reference),
        platforms=platforms,
        with_referrers=with_referrers,
        store=store,
        access=access,
        key_files=key_files,
    )
