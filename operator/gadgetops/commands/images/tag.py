"""`gadgetops tag`: another name for an image."""

import click

from gadgetops.commands.common import messages
from gadgetops.commands.common.completers import images as images_of_store
from gadgetops.commands.common.options import verb
from gadgetops.commands.options.image_argument import parse_image
from gadgetops.commands.options.store_option import store_option
from gadgetops.errors import InvalidReference
from gadgetops.oci.layout.store import open_store
from gadgetops.oci.reference import Reference


@verb("tag", example="gadgetops tag trace_malloc localhost:5000/trace_malloc:v1")
@click.argument("source", metavar="SRC", shell_complete=images_of_store)
@click.argument("name", metavar="DST")
@store_option
def command(source: str, name: str, store: str) -> None:
    """Give the image SRC the further name DST.

    What had the name DST before loses it.
    """
    reference = Reference.parse(name)
    if reference.digest is not None:
        raise InvalidReference(name, "a new name has no digest")
    layout = open_store(store, create=False)
    layout.tag(layout.resolve(parse_image(source)), reference)
    messages.say(f"tagged {reference}")
