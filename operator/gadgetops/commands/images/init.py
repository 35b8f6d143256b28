"""`gadgetops init`: a new gadget to start from."""

from pathlib import Path

import click

from gadgetops.commands.common import messages
from gadgetops.commands.common.options import verb
from gadgetops.errors import AlreadyExists
from gadgetops.gadget.new_gadget import new_gadget
from gadgetops.units import plural
from gadgetops.whole_files import replacing_files


@verb("init", example="gadgetops init my_gadget\ngadgetops init my_gadget --output ~/gadgets/mine")
@click.argument("name", metavar="NAME")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder to write.  [default: NAME]",
)
def command(name: str, output: Path | None) -> None:
    """Write a new gadget called NAME into a folder: it builds, inspects and passes `docs --check` at once.

    It has a program with an event, a map, a filter and a parameter, with gadget.yaml, build.yaml, headers,
    documents with diagrams, a workflow and a hook for pre-commit.
    """
    folder = output or Path(name)
    files = new_gadget(name)
    if folder.is_dir() and any(folder.iterdir()):
        raise AlreadyExists(str(folder), hint="choose an empty folder, or another with -o")
    with replacing_files({folder / path: content for path, content in files.items()}):
        messages.say(f"wrote {plural(len(files), 'file')} to {folder}")
    messages.say(f"next: cd {folder} && gadgetops build . --tag {name}")
    messages.say("gadget.yaml and the workflow name OWNER where your name on GitHub belongs")
