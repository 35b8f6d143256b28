"""`gadgetops artifacthub`: the file that Artifact Hub reads."""

import difflib
from pathlib import Path
from typing import Any

import click

from gadgetops.commands.common import messages
from gadgetops.commands.common.options import verb
from gadgetops.errors import DriftError, UsageError
from gadgetops.gadget.building.buildfile import BuildFile
from gadgetops.gadget.documents.document import read_bounded
from gadgetops.gadget.documents.metadata import Metadata
from gadgetops.oci.reference import Reference
from gadgetops.whole_files import replacing_files


@verb(
    "artifacthub",
    example="""\
gadgetops artifacthub --version 1.0.0 --image ghcr.io/me/trace_malloc:v1.0.0
gadgetops artifacthub --check
""",
)
@click.argument("path", type=click.Path(path_type=Path), default=Path())
@click.option("--version", metavar="SEMVER", help="Version of the package.  [default: the one it has]")
@click.option("--image", metavar="REF", help="Image to run, with its tag.  [default: the one it has]")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The file.  [default: artifacthub-pkg.yml in PATH]",
)
@click.option(
    "--check", "is_check", is_flag=True, help="Write nothing; fail with 3 if something would change."
)
def command(path: Path, version: str | None, image: str | None, output: Path | None, is_check: bool) -> None:
    """Write artifacthub-pkg.yml of the gadget in PATH (default: here) from its gadget.yaml.

    Name, texts, links, platforms and how to run it come from gadget.yaml, keywords, category, licence and
    logo from its annotations, if there. All else that the file says is kept, but no comments. It is checked
    by Artifact Hub's rules.
    """
    from gadgetops.gadget.artifacthub import FILE_NAME, package, read, to_yaml

    file = output or path / FILE_NAME
    before = _content(file)
    values = read(before, str(file)) if before else {}
    reference = None if image is None else Reference.parse(image)
    after = package(_metadata(path), values, version=version, image=reference)
    content = to_yaml(after)
    if content == before:
        return
    if is_check:
        _fail(file, before, content, values, after)
    with replacing_files({file: content}):
        pass
    messages.say(f"{file}: {'updated' if before else 'written'}")


def _metadata(path: Path) -> Metadata:
    content = BuildFile.read(path).read_metadata()
    if content is None:
        raise UsageError(
            f"{path}: no gadget.yaml to say what the gadget is", hint="`build --update-metadata` writes one"
        )
    return Metadata.from_bytes(content)


def _content(file: Path) -> bytes:
    return read_bounded(file, str(file)) if file.exists() else b""


def _fail(file: Path, before: bytes, after: bytes, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Print what differs, and raise the `DriftError`."""
    there, generated = (content.decode(errors="replace").splitlines() for content in (before, after))
    lines = difflib.unified_diff(there, generated, str(file), f"{file} (generated)", lineterm="")
    diff = "".join(f"{line}\n" for line in lines)
    click.echo(diff, nl=False)
    changed = [key for key in new if old.get(key) != new[key]] or ["form"]
    hint = "run `gadgetops artifacthub` to rewrite it"
    raise DriftError(file, changed, diff=diff, changes=[], hint=hint)
