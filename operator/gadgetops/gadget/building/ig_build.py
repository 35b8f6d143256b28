"""Building with `ig image build`, and taking over what it made."""

import secrets
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from gadgetops import process
from gadgetops.errors import ContentError, StorageError, ToolError
from gadgetops.gadget.building.build import Built, check_built, file_name
from gadgetops.gadget.building.buildfile import BuildFile
from gadgetops.gadget.building.compile import bounded
from gadgetops.gadget.building.created import Created
from gadgetops.gadget.building.ig_compiler import container_environment, local_environment
from gadgetops.gadget.building.pack import Packed
from gadgetops.gadget.building.toolchain import TARGETS
from gadgetops.gadget.media_types import MEDIA_TYPE_OBJECT
from gadgetops.oci.content import Descriptor
from gadgetops.oci.graph import children_of, walk
from gadgetops.oci.image import Image
from gadgetops.oci.layout.archive import Archive

HINT: Final = "install ig, or pass --builder local"


def build_with_ig(request: BuildFile, options: Sequence[str], *, is_local: bool, strict: bool) -> Built:
    """
    Return what `ig image build` makes of *request*: its image byte for byte, checked as our own are.

    ig keeps nothing of it: it is named by chance in its store, and removed again.

    Args:
        request: What to build.
        options: More arguments of `ig image build`.
        is_local: Whether ig compiles on this machine, not in its container.
        strict: Whether what is not documented is an error.

    Raises:
        ToolError: ig is missing, or fails.
        MetadataError: gadget.yaml is wrong for the object.
        ObjectError: The object is nothing that ig can run.
        ContentError: What it made is no image of a gadget.
    """
    name = f"gadgetops.localhost/build:{secrets.token_hex(8)}"
    file = [] if request.path is None else ["--file", str(request.path.resolve())]
    try:
        with tempfile.TemporaryDirectory(prefix="gadgetops-") as scratch:
            archive = Path(scratch) / "image.tar"
            folder = str(request.folder.resolve())
            environment = _environment(request, Path(scratch), is_local=is_local)
            mode = ["--local"] if is_local else []
            said = _ig("build", *mode, *options, *file, "--tag", name, folder, environment=environment)
            try:
                _ig("export", name, str(archive))
            finally:
                with suppress(ToolError):
                    _ig("remove", name)
            built = _taken_over(archive, request, strict=strict)
    except OSError as error:
        raise StorageError.from_os_error(error, Path(tempfile.gettempdir())) from error
    warnings = [f"ig:\n{textwrap.indent(bounded(said), '  ')}"] if "warning:" in said else []
    return replace(built, warnings=(*warnings, *built.warnings))


def _environment(request: BuildFile, scratch: Path, *, is_local: bool) -> dict[str, str]:
    if not is_local:
        return container_environment(request)
    scripts = scratch / "bin"
    scripts.mkdir()
    return local_environment(request, scripts)


def _ig(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run `ig image` and return what it said on standard error."""
    return process.complete(["ig", "image", *arguments], env=environment, hint=HINT).err


def _taken_over(path: Path, request: BuildFile, *, strict: bool) -> Built:
    with path.open("rb") as file:
        archive = Archive.open(file, "ig's image")
        index = archive.only_image()
        image = Image.of(archive, index, "ig's image")
        nodes = walk([index], partial(children_of, archive))
        contents = tuple((node, b"".join(archive.chunks(node))) for node in nodes)
        objects = {each: content for each in TARGETS if (content := _object(image, each)) is not None}
    warnings = check_built(request, objects, strict=strict)
    return Built(
        image=Packed(index, contents),
        objects={file_name(each): content for each, content in objects.items()},
        created=_created(image),
        warnings=tuple(warnings),
        metadata={},
        inputs=(),
    )


def _created(image: Image) -> Created:
    try:
        moment = datetime.fromisoformat(image.created or "")
    except ValueError as error:
        raise ContentError(f"ig's image: created: no time: {image.created!r}") from error
    return Created(int(moment.timestamp()), "said by ig")


def _object(image: Image, architecture: str) -> bytes | None:
    layers: tuple[Descriptor, ...] = image.manifest(architecture).layers
    found = next((layer for layer in layers if layer.media_type == MEDIA_TYPE_OBJECT), None)
    return None if found is None else image.fetch(found)
