"""`gadgetops diff-images`: what a new version of a gadget changes for those who use it."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from gadgetops.commands.common import messages
from gadgetops.commands.common.completers import images as images_of_store
from gadgetops.commands.common.options import table_or_json_option, verb
from gadgetops.commands.common.output import print_json, print_table
from gadgetops.commands.options.store_option import store_option
from gadgetops.errors import ObjectError
from gadgetops.gadget.building.toolchain import TARGETS
from gadgetops.gadget.reading.compare import Change, Facts, as_run, compare
from gadgetops.gadget.reading.inspect import facts
from gadgetops.gadget.reading.subject import Subject, open_subject
from gadgetops.units import plural

BREAKING_STATUS = 3


@verb(
    "diff-images",
    example="""\
gadgetops diff-images trace_malloc:v1 trace_malloc:v2
gadgetops diff-images old.bpf.o new.bpf.o --format json
gadgetops diff-images trace_malloc:v1 trace_malloc:v2 --check
""",
)
@click.argument("before", metavar="A", shell_complete=images_of_store)
@click.argument("after", metavar="B", shell_complete=images_of_store)
@click.option("--check", is_flag=True, help="Fail with 3 if a consumer of A may fail with B.")
@table_or_json_option()
@click.option(
    "--arch",
    "architecture",
    type=click.Choice(sorted(TARGETS)),
    help="Which of the images' architectures.  [default: this machine's]",
)
@store_option
def command(
    before: str, after: str, check: bool, output_format: str, architecture: str | None, store: str
) -> int:
    """Show what differs from A to B, both images or objects as `inspect` takes them.

    Programs and where they attach, maps, edges between them, fields, enum values and parameters. Breaking is
    what a consumer may rely on: what is gone, renamed or of another type, and other defaults.
    """
    sides = [_facts(open_subject(each, architecture=architecture, store=store)) for each in (before, after)]
    changes = compare(*sides)
    if output_format == "json":
        print_json(_as_json(sides, changes))
    else:
        print_table([_row(change) for change in changes], ["impact", "what", "name", "change"])
    n_breaking = sum(change.is_breaking for change in changes)
    messages.say(f"{plural(n_breaking, 'breaking change')}, {plural(len(changes) - n_breaking, 'other')}")
    return BREAKING_STATUS if check and n_breaking else 0


def _facts(subject: Subject) -> Facts:
    """
    Return the facts of *subject* as it runs.

    Raises:
        ObjectError: Fields and parameters are not known: they would look as if they were gone.
    """
    side = facts(subject)
    if side["problem"]:
        raise ObjectError(side["problem"], name=side["name"])
    return as_run(side, b"" if subject.picture is None else subject.picture.metadata)


def _row(change: Change) -> list[str]:
    return ["breaking" if change.is_breaking else "-", change.kind, change.name, str(change)]


def _as_json(sides: Sequence[Facts], changes: Sequence[Change]) -> dict[str, Any]:
    before, after = ({name: side[name] for name in ("name", "digest", "architecture")} for side in sides)
    return {
        "before": before,
        "after": after,
        "is_breaking": any(change.is_breaking for change in changes),
        "changes": [asdict(change) for change in changes],
    }
