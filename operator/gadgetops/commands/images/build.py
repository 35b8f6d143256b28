"""`gadgetops build`: from source to an image in the store."""

import textwrap
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Final

import click

from gadgetops.commands.common import messages
from gadgetops.commands.common.options import verb
from gadgetops.commands.images.header_options import Change, header_options
from gadgetops.commands.options.store_option import store_option
from gadgetops.errors import UsageError
from gadgetops.gadget.building.build import Built, build, file_name
from gadgetops.gadget.building.buildfile import BuildFile
from gadgetops.gadget.building.compile import Compiled, LocalTools, Tools
from gadgetops.gadget.building.toolchain import TARGETS
from gadgetops.gadget.media_types import MEDIA_TYPE_OBJECT
from gadgetops.gadget.reading.own_images import BUILD_FILES, own_image
from gadgetops.oci.graph import children_of, copy_content, walk
from gadgetops.oci.layout.store import open_store
from gadgetops.oci.reference import Reference
from gadgetops.whole_files import replacing_files

IN_CONTAINER: Final = ("docker", "ig")
"""Builders that compile in a container."""


@verb(
    "build",
    example="""\
gadgetops build .
gadgetops build . --tag trace_malloc:v1 --output build
gadgetops build ~/gadgets/mine --arch amd64 --strict
gadgetops build ~/gadgets/mine --headers v0.55.1
gadgetops build --bundled trace_malloc --tag ghcr.io/me/trace_malloc:v1
gadgetops build . --builder docker --builder-image my/clang:18
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
@click.option(
    "--bundled",
    type=click.Choice(sorted(BUILD_FILES)),
    help="Compile nothing: take this image, which comes with gadgetops.",
)
@click.option("--strict", is_flag=True, help="Refuse fields and parameters that gadget.yaml does not name.")
@click.option("--update-metadata", is_flag=True, help="Add to gadget.yaml what the object has and it lacks.")
@click.option(
    "--builder",
    type=click.Choice(["local", "docker", "ig", "ig-local"]),
    default="local",
    show_default=True,
    help="What compiles: clang on this machine, clang in a container, `ig image build` in its container, or "
    "`ig image build --local`.",
)
@click.option(
    "--builder-image",
    metavar="REF",
    help="Image with clang, llvm-strip and libbpf's headers.  [default: ig's]",
)
@click.option(
    "--pull",
    type=click.Choice(["always", "missing", "never"]),
    help="When to fetch the builder image.  [default: missing; ig's: always]",
)
@header_options
@store_option
def command(
    path: Path,
    tag: str | None,
    file: Path | None,
    output: Path | None,
    architectures: tuple[str, ...],
    bundled: str | None,
    strict: bool,
    update_metadata: bool,
    builder: str,
    builder_image: str | None,
    pull: str | None,
    store: str,
    with_headers: Change,
) -> None:
    """Compile the gadget in PATH (default: here) and pack it into an image in the store.

    SOURCE_DATE_EPOCH is honoured, and by the local builder CLANG and LLVM_STRIP. Equal sources give an equal
    digest, wherever they lie; unchanged sources are not compiled again. A container has no network and can
    only read PATH.
    """
    if bundled is not None:
        settings = {"PATH": path != Path(), "--file": file, "--arch": architectures}
        _refuse_with_bundled({**settings, "--update-metadata": update_metadata})
        _take_bundled(bundled, _reference(tag or bundled), output, store)
        return
    reference = None if tag is None else _reference(tag)
    _check_builder(builder, builder_image, pull)
    request = with_headers(BuildFile.read(path, file))
    if builder in IN_CONTAINER and (request.includes or request.btf):
        raise UsageError(f"--include and --btf are for builders on this machine, not for {builder}")
    if builder.startswith("ig"):
        _refuse_for_ig({"--arch": bool(architectures), "--update-metadata": update_metadata})
        built = _build_with_ig(request, builder, builder_image, pull, strict=strict)
    else:
        built = build(
            request,
            sorted(set(architectures)) or sorted(TARGETS),
            strict=strict,
            update_metadata=update_metadata,
            on_compiled=_reporter(),
            find_tools=LocalTools.find if builder == "local" else lambda _: _container(builder_image, pull),
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


def _refuse_with_bundled(given: Mapping[str, object]) -> None:
    for option, value in given.items():
        if value:
            raise UsageError(f"{option}: nothing is built with --bundled")


def _take_bundled(name: str, reference: Reference, output: Path | None, store: str) -> None:
    """Put the image *name* of this package into the store as *reference*."""
    image = own_image(name)
    objects = (
        {}
        if output is None
        else {output / file_name(each): image.layer(each, MEDIA_TYPE_OBJECT) for each in image.architectures}
    )
    with replacing_files(objects):
        layout = open_store(store)
        copy_content(image.source, layout, walk([image.descriptor], partial(children_of, image.source)))
        layout.publish({str(reference): image.descriptor})
    click.echo(f"{reference}@{image.digest}")


def _reporter() -> Callable[[Compiled], None]:
    """Return what says how compiling went; a warning that every architecture gives is said once."""
    warn = cache(messages.warn)

    def report(compiled: Compiled) -> None:
        messages.say(f"{compiled.architecture}: {'compiled' if compiled.is_new else 'unchanged'}")
        if compiled.warnings:
            warn(f"clang:\n{textwrap.indent(compiled.warnings, '  ')}")

    return report


def _check_builder(builder: str, image: str | None, pull: str | None) -> None:
    """Raise `UsageError` if a builder without a container was told of one."""
    for option, value in {"--builder-image": image, "--pull": pull}.items():
        if value is not None and builder not in IN_CONTAINER:
            hint = f"pass --builder {' or '.join(IN_CONTAINER)}"
            raise UsageError(f"{option}: the builder {builder} uses no image", hint=hint)


def _refuse_for_ig(options: Mapping[str, bool]) -> None:
    for option, is_given in options.items():
        if is_given:
            raise UsageError(f"{option}: ig cannot do that as we do", hint="pass --builder local or docker")


def _build_with_ig(
    request: BuildFile, builder: str, image: str | None, pull: str | None, *, strict: bool
) -> Built:
    from gadgetops.gadget.building.ig_build import build_with_ig

    options = [] if image is None else ["--builder-image", image]
    options += [] if pull is None else ["--builder-image-pull", pull]
    return build_with_ig(request, options, is_local=builder == "ig-local", strict=strict)


def _container(image: str | None, pull: str | None) -> Tools:
    from gadgetops.gadget.building.container_build import DEFAULT_IMAGE, ContainerTools

    return ContainerTools.open(image or DEFAULT_IMAGE, pull or "missing")


def _write(built: Built, output: Path | None, reference: Reference | None, store: str) -> None:
    """Write all there is to write; the image last, and the files only when it is in the store."""
    files = dict(built.metadata)
    if output is not None:
        files |= {output / name: content for name, content in built.objects.items()}
    with replacing_files(files):
        layout = open_store(store)
        for descriptor, content in built.image.contents:
            layout.add(descriptor, [content])
        index = built.image.index
        layout.publish({} if reference is None else {str(reference): index}, [index])
