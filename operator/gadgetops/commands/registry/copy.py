"""`gadgetops copy`: images from anywhere to anywhere."""

import click

from gadgetops.commands.common.options import verb
from gadgetops.commands.registry.transfer_options import Transfer, transfer_options
from gadgetops.oci.location import Location


@verb(
    "copy",
    example="""\
gadgetops copy ghcr.io/me/trace_malloc:v1 registry.example.com/mirror/trace_malloc:v1
gadgetops copy store:trace_malloc archive:trace_malloc.tar
gadgetops copy oci:layout:v1 localhost:5000/trace_malloc:v1 --plain-http localhost:5000
""",
)
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@transfer_options
def command(
    source: str,
    destination: str,
    transfer: Transfer,
) -> None:
    """Copy an image from SRC to DST, with its signatures.

    \b
    Each is one of
      REF or registry:REF   an image of a registry
      store:REF             an image of the store
      oci:FOLDER[:NAME]     an image in an OCI layout folder
      archive:FILE[:NAME]   an image in a tar file of such a folder

    Without NAME, SRC is the only image there, and DST gets the name of SRC. A FILE that is there is replaced.
    Prints DST with its digest.
    """
    transfer.run(
        "copy",
        Location.parse(source),
        Location.parse(destination),
    )
