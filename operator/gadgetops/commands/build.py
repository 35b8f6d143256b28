"""`gadgetops build`: from source to an image in the store."""

from pathlib import Path

import click

from gadgetops.commands import messages
from gadgetops.commands.options import verb
from gadgetops.commands.store_option import store_option
from gadgetops.errors import UsageError
from gadgetops.gadget.build import Built, build
from gadgetops.gadget.buildfile import BuildFile
from gadgetops.gadget.compile import Compiled
from gadgetops.gadget.files import staged
from gadgetops.gadget.toolchain import TARGETS
from gadgetops.oci.reference import Reference
from gadgetops.oci.store import open_store


@verb(
    "build",
    example="""\
gadgetops build .
gadgetops build . --tag trace_malloc:v1 --output build
gadgetops build ~/gadgets/mine --arch amd64 --strict
""",
)
@click.argument("path", type=click.Path(path_type=Path), default=Path())
@click.option("-t", "--tag", metavar="REF", help="Name of the image; without one it is found by its digest.")
@click.option(
    "-f",
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The build.yaml.  [default: the one in PATH, if any]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Also leave the objects there, as amd64.bpf.o and arm64.bpf.o.",
)
@click.option(
    "--arch",
    "architectures",
    type=click.Choice(sorted(TARGETS)),
    multiple=True,
    help="Build for this architecture only; may be repeated.  [default: all]",
)
@click.option("--strict", is_flag=True, help="Refuse fields and parameters that gadget.yaml does not name.")
@click.option("--update-metadata", is_flag=True, help="Add to gadget.yaml what the object has and it lacks.")
@store_option
def command(
    path: Path,
    tag: str | None,
    file: Path | None,
    output: Path | None,
    architectures: tuple[str, ...],
    strict: bool,
    update_metadata: bool,
    store: str,
) -> None:
    """Compile the gadget in PATH (default: here) and pack it into an image in the store.

    SOURCE_DATE_EPOCH, CLANG and LLVM_STRIP are honoured. Equal sources give an equal digest, wherever they
    lie; unchanged sources are not compiled again.
    """
    reference = None if tag is None else _reference(tag)
    built = build(
        BuildFile.read(path, file),
        sorted(set(architectures)) or sorted(TARGETS),
        strict=strict,
        update_metadata=update_metadata,
        on_compiled=_say_compiled,
    )
    for warning in built.warnings:
        messages.warn(warning)
    messages.detail(f"created: {built.created} ({built.created.origin})")
    _write(built, output, reference, store)
    for changed in built.metadata:
        messages.say(f"{changed}: updated")
    click.echo(f"Successfully built {reference or ''}@{built.image.index.digest}")


def _reference(tag: str) -> Reference:
    reference = Reference.parse(tag)
    if reference.digest is not None:
        raise UsageError(f"--tag {tag}: a new image is named by a tag, not by a digest")
    return reference


def _say_compiled(compiled: Compiled) -> None:
    messages.say(f"{compiled.architecture}: {'compiled' if compiled.is_new else 'unchanged'}")


def _write(built: Built, output: Path | None, reference: Reference | None, store: str) -> None:
    """Write all there is to write; the image last, and the files only when it is in the store."""
    files = dict(built.metadata)
    if output is not None:
        files |= {output / name: content for name, content in built.objects.items()}
    with staged(files):
        layout = open_store(store)
        for descriptor, content in built.image.contents:
            layout.add(descriptor, [content])
        index = built.image.index
        layout.publish({} if reference is None else {str(reference): index}, [index])
