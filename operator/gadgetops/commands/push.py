"""`gadgetops push`: an image of the store to a registry."""

import click

from gadgetops.commands.options import verb
from gadgetops.commands.registry_options import registry_options
from gadgetops.commands.store_option import store_option
from gadgetops.commands.transfer_options import platform_option, referrers_option, transfer
from gadgetops.oci.access import Access
from gadgetops.oci.location import Location, Place
from gadgetops.oci.reference import Reference


@verb(
    "push",
    example="""\
gadgetops push ghcr.io/me/trace_malloc:v1
gadgetops push localhost:5000/trace_malloc:v1 --plain-http localhost:5000
""",
)
@click.argument("image", metavar="REF")
@platform_option
@referrers_option
@registry_options
@store_option
def command(image: str, platforms: tuple[str, ...], with_referrers: bool, store: str, access: Access) -> None:
    """Send the image REF of the store to the registry that REF names, with its signatures.

    What is there already is not sent again; the tag is written when all else is there. Prints REF with its
    digest.
    """
    reference = Reference.parse(image)
    transfer(
        "push",
        Location(Place.STORE, reference),
        Location(Place.REGISTRY, reference),
        platforms=platforms,
        with_referrers=with_referrers,
        store=store,
        access=access,
    )
