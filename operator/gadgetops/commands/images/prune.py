"""`gadgetops prune`: images that have no name any more."""

import click

from gadgetops.commands.common import messages
from gadgetops.commands.common.options import verb
from gadgetops.commands.options.store_option import store_option
from gadgetops.oci.layout.store import open_store
from gadgetops.units import plural


@verb("prune", example="gadgetops prune --dry-run")
@click.option("--dry-run", is_flag=True, help="Print what would go, and change nothing.")
@store_option
def command(dry_run: bool, store: str) -> None:
    """Remove the images of the store that have no name, as rebuilding under one name leaves them.

    Prints the digest of each. Signatures go with them; what belongs to an image with a name stays. Their
    blobs are deleted unless they were written in the last ten minutes: then by a later removal.
    """
    layout = open_store(store, create=False)
    gone = layout.untagged() if dry_run else layout.prune()
    for image in gone:
        click.echo(image.digest)
    messages.say(f"{'would remove' if dry_run else 'removed'} {plural(len(gone), 'image')} without a name")
