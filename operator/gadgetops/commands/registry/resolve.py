"""`gadgetops resolve`: which digest a name stands for."""

import click

from gadgetops.commands.common.options import verb
from gadgetops.commands.options.registry_options import registry_options
from gadgetops.commands.options.store_option import store_option
from gadgetops.oci.location import Location
from gadgetops.oci.registry.access import Access


@verb(
    "resolve",
    example="""\
gadgetops resolve ghcr.io/me/trace_malloc:v1
gadgetops resolve store:trace_malloc --platform linux/arm64
""",
)
@click.argument("image", metavar="SRC")
@click.option("--platform", metavar="OS/ARCH", help="Of the manifest for this platform instead of the index.")
@registry_options
@store_option
def command(image: str, platform: str | None, store: str, access: Access) -> None:
    """Print the digest of the image SRC, in a registry or wherever `copy` finds images."""
    from gadgetops.oci.copying.endpoints import open_origin
    from gadgetops.oci.copying.platforms import manifest_of_platform

    with open_origin(Location.parse(image), store=store, access=access) as origin:
        descriptor = origin.root if platform is None else manifest_of_platform(origin, platform)
    click.echo(descriptor.digest)
