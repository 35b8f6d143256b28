"""`gadgetops remove`: names, and what only they kept."""

import click

from gadgetops.commands.common import messages
from gadgetops.commands.common.completers import images as images_of_store
from gadgetops.commands.common.options import verb
from gadgetops.commands.options.image_argument import parse_image
from gadgetops.commands.options.store_option import store_option
from gadgetops.oci.layout.store import open_store


@verb("remove", example="gadgetops remove trace_malloc localhost:5000/trace_malloc:v1")
@click.argument("images", metavar="REF…", nargs=-1, required=True, shell_complete=images_of_store)
@store_option
def command(images: tuple[str, ...], store: str) -> None:
    """Remove the names REF from the store.

    A digest stands for all names of the image. With its last name an image goes, its signatures with it, and
    what had that name before. What was written in the last ten minutes is deleted by a later removal.
    """
    references = [parse_image(image) for image in images]
    layout = open_store(store, create=False)
    for reference in references:
        layout.resolve(reference)
    for reference in dict.fromkeys(references):
        names = layout.remove(reference)
        messages.say(f"removed {', '.join(names) or reference}")
