"""`gadgetops export`: images to a tar file."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from gadgetops.commands.common import messages
from gadgetops.commands.common.options import verb
from gadgetops.commands.options.image_argument import parse_image
from gadgetops.commands.options.store_option import store_option
from gadgetops.errors import UsageError
from gadgetops.oci.layout.archive import export_archive
from gadgetops.oci.layout.store import open_store
from gadgetops.whole_files import write_file


@verb("export", example="gadgetops export trace_malloc trace_malloc.tar")
@click.argument("images", metavar="REF…", nargs=-1, required=True)
@click.argument("file", metavar="FILE.tar")
@store_option
def command(images: tuple[str, ...], file: str, store: str) -> None:
    """Write the images REF and their signatures to FILE.tar, which `ig image import` and skopeo read.

    The same images give the same bytes. FILE.tar may be - for standard output; a file that is there is
    replaced.
    """
    references = [parse_image(image) for image in images]
    archive = export_archive(open_store(store, create=False), references)
    if file == "-":
        _write_to_stdout(archive)
        return
    path = Path(file)
    write_file(path, archive, scratch=path.parent)
    messages.say(f"exported {', '.join(map(str, references))} to {path}")


def _write_to_stdout(archive: Iterator[bytes]) -> None:
    if sys.stdout.isatty():
        raise UsageError("a tar file is nothing for a terminal", hint="redirect it, or name a file")
    sys.stdout.buffer.writelines(archive)
    sys.stdout.buffer.flush()
