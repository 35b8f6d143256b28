"""`gadgetops import-image`: images from a tar file."""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click

from gadgetops.commands.common.options import verb
from gadgetops.commands.options.store_option import store_option
from gadgetops.oci.attachments import signed_digest
from gadgetops.oci.layout.archive import import_archive
from gadgetops.oci.layout.store import open_store
from gadgetops.oci.reference import Reference
from gadgetops.whole_files import storage_errors


@verb("import-image", example="gadgetops import-image trace_malloc.tar")
@click.argument("file", metavar="FILE.tar")
@click.option(
    "-t", "--tag", "name", metavar="REF", help="Name for the only image, instead of those in the file."
)
@store_option
def command(file: str, name: str | None, store: str) -> None:
    """Read the images in FILE.tar into the store and print their names.

    FILE.tar is an OCI layout as `gadgetops export`, `ig image export`, skopeo (`oci-archive:FILE.tar`) and
    `docker save` (25.0 and later) write it; - is standard input. Either all of it is imported or no name is
    given.
    """
    reference = None if name is None else Reference.parse(name)
    with _opened(file) as archive:
        names = import_archive(open_store(store), archive, file, name=reference)
    for imported in names:
        if signed_digest(imported) is None:
            click.echo(imported)


@contextlib.contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    """Yield *file*, or a copy of standard input, as a file that can seek."""
    if file != "-":
        path = Path(file)
        with storage_errors(path):
            archive = path.open("rb")
        with archive:
            yield archive
        return
    with tempfile.TemporaryFile() as copy:
        with storage_errors(Path(tempfile.gettempdir())):
            shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.seek(0)
        yield copy
