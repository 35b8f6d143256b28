"""`gadgetops list`: the images of the store."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import click

from gadgetops.commands.common import messages
from gadgetops.commands.common.options import format_option, verb
from gadgetops.commands.common.output import print_rows
from gadgetops.commands.options.registry_options import registry_options
from gadgetops.commands.options.store_option import store_option
from gadgetops.errors import ContentError, InvalidReference, NotFound, UsageError
from gadgetops.oci.attachments import signed_digest
from gadgetops.oci.content import MEDIA_TYPE_INDEX, Descriptor
from gadgetops.oci.image import Image
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.layout.store import open_store
from gadgetops.oci.reference import Reference
from gadgetops.oci.registry.access import Access

_COLUMNS = {"reference": "reference", "digest": "digest", "created": "created", "platforms": "platforms"}
_REMOTE_COLUMNS = {"tag": "tag", "reference": "reference"}
_SHORT_DIGEST_LENGTH = len("sha256:") + 12


@dataclass(frozen=True)
class _Row:
    """One image; `problem` says why it cannot be used, None if it can."""

    reference: str
    digest: str
    created: str | None
    platforms: list[str]
    problem: str | None

    @property
    def for_people(self) -> dict[str, Any]:
        return {
            "reference": _familiar(self.reference),
            "digest": self.digest[:_SHORT_DIGEST_LENGTH],
            "created": self.created,
            "platforms": self.platforms if self.problem is None else "damaged",
        }


@verb(
    "list",
    example="""\
gadgetops list --format json
gadgetops list --untagged
gadgetops list --remote ghcr.io/me/trace_malloc
""",
)
@click.option("--remote", metavar="REPO", help="The tags of this repository of a registry instead.")
@click.option(
    "--untagged", is_flag=True, help="The images without a name instead, as rebuilding leaves them."
)
@format_option
@registry_options
@store_option
def command(remote: str | None, untagged: bool, output_format: str, store: str, access: Access) -> None:
    """List the images of the store, by name, or the tags of a repository.

    JSON has of each image reference, digest (of its index), created, platforms, and problem: null, or what is
    wrong with it; of each tag of a repository, tag and reference. Signatures and other content that is no
    image are left out. Images without a name have their digest as reference; `gadgetops prune` removes them.
    """
    if remote is not None and untagged:
        raise UsageError("--untagged is about the store: it does not go with --remote")
    if remote is not None:
        print_rows([*_remote_rows(Reference.parse(remote), access)], _REMOTE_COLUMNS, output_format)
    else:
        _list_store(output_format, store, _untagged_rows if untagged else _rows)


def _remote_rows(reference: Reference, access: Access) -> Iterator[dict[str, str]]:
    from gadgetops.oci.registry.client import Repository

    repository = Repository.open(reference, access)
    for tag in repository.tags():
        if signed_digest(tag) is None:
            yield {"tag": tag, "reference": f"{repository}:{tag}"}
        else:
            messages.detail(f"not shown: {tag}")


def _list_store(output_format: str, store: str, rows_of: Callable[[Layout], Iterable[_Row]]) -> None:
    try:
        layout = open_store(store, create=False)
    except NotFound as error:
        messages.say(f"no images yet: {error.problem}")
        rows = []
    else:
        rows = list(rows_of(layout))
    if output_format == "table":
        print_rows([row.for_people for row in rows], _COLUMNS, output_format)
    else:
        columns = {**_COLUMNS, "problem": "problem"}
        values = [{**vars(row), "platforms": " ".join(row.platforms)} for row in rows]
        print_rows(values, columns, output_format, json_value=[vars(row) for row in rows])


def _rows(layout: Layout) -> Iterator[_Row]:
    for name, descriptor in layout.names().items():
        if descriptor.media_type == MEDIA_TYPE_INDEX and signed_digest(name) is None:
            yield _row(layout, name, descriptor)
        else:
            messages.detail(f"not shown: {name}: {descriptor.media_type}")


def _untagged_rows(layout: Layout) -> Iterator[_Row]:
    return (_row(layout, each.digest, each) for each in layout.untagged() if each.is_index)


def _row(layout: Layout, name: str, descriptor: Descriptor) -> _Row:
    try:
        image = Image.of(layout, descriptor, name)
        _check_presence(layout, image)
    except ContentError as error:
        problem = error.problem.removeprefix(f"{name}: ")
        messages.warn(f"{name}: {problem}")
        return _Row(name, descriptor.digest, created=None, platforms=[], problem=problem)
    platforms = [str(platform) for platform in image.platforms]
    return _Row(name, descriptor.digest, created=image.created, platforms=platforms, problem=None)


def _check_presence(layout: Layout, image: Image) -> None:
    """Raise `ContentError` if content of *image* is missing; only manifests are read."""
    for architecture in image.architectures:
        manifest = image.manifest(architecture)
        for part in (manifest.config, *manifest.layers):
            if not layout.has(part):
                raise NotFound(f"{architecture}: {part.digest}", where=str(layout))


def _familiar(name: str) -> str:
    try:
        return Reference.parse(name).familiar
    except InvalidReference:
        return name
