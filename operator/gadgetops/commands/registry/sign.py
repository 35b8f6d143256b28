"""`gadgetops sign`: say with a key that an image is yours."""

from pathlib import Path

import click

from gadgetops.commands.common import messages
from gadgetops.commands.common.completers import images as images_of_store
from gadgetops.commands.common.options import verb
from gadgetops.commands.options.image_argument import parse_image
from gadgetops.commands.options.key_file_options import private_key_option
from gadgetops.commands.options.store_option import store_option
from gadgetops.commands.registry.attest import attach, attest_option, claims_of
from gadgetops.errors import UsageError
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.layout.store import open_store
from gadgetops.oci.reference import Reference


@verb(
    "sign",
    example="""\
gadgetops sign trace_malloc:v1 --key release.key
gadgetops sign trace_malloc:v1 --key release.key --format bundle
gadgetops sign trace_malloc:v1 --key release.key --attest .
""",
)
@click.argument("image", metavar="REF", shell_complete=images_of_store)
@private_key_option("Private key of `gadgetops keygen` or cosign, or any in PEM.", required=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(["legacy", "bundle"]),
    default="legacy",
    show_default=True,
    help="legacy: what every ig verifies; bundle: what newer tools prefer, ig since 0.48.",
)
@click.option(
    "--add", is_flag=True, help="Keep signatures by other keys, though ig then verifies none of them."
)
@click.option("--replace", is_flag=True, help="Take away signatures by other keys.")
@attest_option
@store_option
def command(
    image: str,
    key_file: Path,
    form: str,
    add: bool,
    replace: bool,
    attested_folder: Path | None,
    store: str,
) -> None:
    """Sign the image REF of the store, all architectures together.

    All of the image is checked before. `push` and `export` take the signature along. Signing again with the
    same key changes nothing. The password of FILE is taken from GADGETOPS_KEY_PASSWORD or COSIGN_PASSWORD, or
    asked for.
    """
    from gadgetops.commands.options.key_option import read_private_key
    from gadgetops.oci.signing.sealed import Form
    from gadgetops.oci.signing.sign import Others, sign

    if add and replace:
        raise UsageError("--add keeps other signatures and --replace takes them away: pass one of them")
    reference = parse_image(image)
    layout = open_store(store, create=False)
    descriptor = layout.resolve(reference)
    key = read_private_key(key_file)
    claims = None if attested_folder is None else claims_of(layout, reference, attested_folder)
    signed = sign(
        layout,
        descriptor,
        key,
        repository=reference.name if isinstance(reference, Reference) else "",
        form=Form(form),
        others=Others.ADD if add else Others.REPLACE if replace else Others.REFUSE,
    )
    for each in signed.replaced:
        _forget(layout, each.digest)
    if signed.is_new:
        messages.say(f"signed {reference} ({descriptor.digest})")
    else:
        messages.say(f"{reference} ({descriptor.digest}): signed with this key before; nothing to do")
    if claims is not None:
        attach(layout, reference, claims, key)


def _forget(layout: Layout, digest: str) -> None:
    """Take a signature off the store that another one has taken the place of."""
    if not layout.names_meant(digest):
        layout.remove(digest)
