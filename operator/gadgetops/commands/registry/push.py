"""`gadgetops push`: an image of the store to a registry."""

from pathlib import Path

import click

from gadgetops.commands.common.completers import images as images_of_store
from gadgetops.commands.common.options import verb
from gadgetops.commands.options.key_file_options import private_key_option
from gadgetops.commands.registry.attest import attach, attest_option, claims_of
from gadgetops.commands.registry.transfer_options import Transfer, transfer_options
from gadgetops.errors import UsageError
from gadgetops.oci.layout.store import open_store
from gadgetops.oci.location import Location, Place
from gadgetops.oci.reference import Reference


@verb(
    "push",
    example="""\
gadgetops push ghcr.io/me/trace_malloc:v1
gadgetops push localhost:5000/trace_malloc:v1 --plain-http localhost:5000
gadgetops push ghcr.io/me/trace_malloc:v1 --attest . --key release.key
""",
)
@click.argument("image", metavar="REF", shell_complete=images_of_store)
@attest_option
@private_key_option("Private key to sign with what --attest attaches.")
@transfer_options
def command(
    image: str,
    attested_folder: Path | None,
    key_file: Path | None,
    transfer: Transfer,
) -> None:
    """Send the image REF of the store to the registry that REF names, with its signatures.

    What is there already is not sent again; the tag is written when all else is there. Prints REF with its
    digest.
    """
    reference = Reference.parse(image)
    if attested_folder is not None or key_file is not None:
        _attest(reference, attested_folder, key_file, transfer)
    transfer.run(
        "push",
        Location(Place.STORE, reference),
        Location(Place.REGISTRY, reference),
    )


def _attest(reference: Reference, folder: Path | None, key_file: Path | None, transfer: Transfer) -> None:
    from gadgetops.commands.options.key_option import read_private_key

    if folder is None:
        raise UsageError("--key signs what --attest attaches", hint="`gadgetops sign` signs the image")
    if key_file is None:
        raise UsageError("--attest needs a key to sign with", hint="pass --key FILE")
    if not transfer.with_referrers:
        raise UsageError("--no-referrers leaves behind what --attest attaches", hint="pass one of them")
    layout, key = open_store(transfer.store, create=False), read_private_key(key_file)
    attach(layout, reference, claims_of(layout, reference, folder), key)
