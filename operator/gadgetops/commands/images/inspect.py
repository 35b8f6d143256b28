"""`gadgetops inspect`: what is in an image or object."""

import difflib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import click

from gadgetops.bpf.reading import NEWEST, Reading
from gadgetops.commands.common import messages
from gadgetops.commands.common.completers import images as images_of_store
from gadgetops.commands.common.options import table_or_json_option, verb
from gadgetops.commands.common.output import print_json, print_table
from gadgetops.commands.images.ig_version_option import ig_version_option
from gadgetops.commands.options.store_option import store_option
from gadgetops.errors import ObjectError, ToolError, UsageError
from gadgetops.gadget.building.toolchain import TARGETS
from gadgetops.gadget.reading import witness
from gadgetops.gadget.reading.extra_info import ExtraInfo, extra_infos
from gadgetops.gadget.reading.inspect import facts
from gadgetops.gadget.reading.show import MODES, Mode, show, show_all
from gadgetops.gadget.reading.subject import Subject, open_subject
from gadgetops.units import format_bytes, plural

_NONE = "-"


@verb(
    "inspect",
    example="""\
gadgetops inspect trace_malloc
gadgetops inspect amd64.bpf.o --extra-info ebpf.flowchart
gadgetops inspect trace_malloc --extra-info ebpf.maps --jsonpath '[*].Name'
gadgetops inspect trace_malloc.tar --format json
""",
)
@click.argument("subject_text", metavar="REF|OBJECT|DIR|TAR", shell_complete=images_of_store)
@click.option("--extra-info", "name", metavar="NAME", help="Print this alone, as `ig image inspect` does.")
@click.option(
    "-o",
    "--output",
    "mode",
    type=click.Choice(MODES),
    help="Form of an extra info, or of all of them if none is named.  [default: jsonpretty]",
)
@click.option("--jsonpath", metavar="PATH", help='Part of an extra info: .name, ["key"], [0] and [*].')
@table_or_json_option("Form of the summary.")
@click.option(
    "--engine",
    type=click.Choice(["auto", "ours", "ig", "both"]),
    default="auto",
    show_default=True,
    help="Who reads extra infos; auto: we do, and an ig on PATH is asked whether it agrees.",
)
@click.option(
    "--arch",
    "architecture",
    type=click.Choice(sorted(TARGETS)),
    help="Which of an image's architectures.  [default: this machine's]",
)
@ig_version_option
@store_option
def command(
    subject_text: str,
    name: str | None,
    mode: Mode | None,
    jsonpath: str | None,
    output_format: str,
    engine: str,
    architecture: str | None,
    reading: Reading | None,
    store: str,
) -> None:
    """Show what is in an image of the store, an object, or an image in a folder or tar file.

    Without --extra-info and --output: a summary of programs, maps, fields and parameters. Needs no
    privileges.
    """
    if jsonpath is not None and name is None:
        raise UsageError("--jsonpath leads into an extra info", hint="name one with --extra-info")
    subject = replace(
        open_subject(subject_text, architecture=architecture, store=store), reading=reading or NEWEST
    )
    if name is None and mode is None:
        _summarise(subject, output_format, engine)
    elif engine == "ig":
        click.echo(witness.ask(subject, _options(name, mode, jsonpath)), nl=False)
    else:
        _print_infos(subject, name, mode or "jsonpretty", jsonpath, engine)


def _options(name: str | None, mode: Mode | None, jsonpath: str | None) -> list[str]:
    options = {"--extra-info": name, "--output": mode, "--jsonpath": jsonpath}
    return [part for option, value in options.items() if value is not None for part in (option, value)]


def _print_infos(subject: Subject, name: str | None, mode: Mode, path: str | None, engine: str) -> None:
    infos = extra_infos(subject)
    if name is not None:
        infos = {name: _named(infos, name)}
    text = show_all(infos.values(), mode) if name is None else show(infos[name], mode, path)
    _compare(subject, infos, engine)
    click.echo(text, nl=False)


def _named(infos: Mapping[str, ExtraInfo], name: str) -> ExtraInfo:
    if name in infos:
        return infos[name]
    nearest = difflib.get_close_matches(name, infos, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"there are {', '.join(infos)}"
    raise UsageError(f"there is no extra info {name!r}", hint=hint)


def _compare(subject: Subject, infos: Mapping[str, ExtraInfo], engine: str) -> None:
    """Ask ig about *infos*, if it is to be asked: `both` insists, `auto` warns."""
    if engine == "ours" or (engine == "auto" and not witness.is_present()):
        return
    try:
        theirs = replace(subject, reading=witness.reading())
        if theirs.reading != subject.reading:
            # Where versions differ, both are right about their own: ours is compared with the one on PATH.
            infos = {name: info for name, info in extra_infos(theirs).items() if name in infos}
        found = witness.differences(theirs, _shown_by_ig(theirs, infos))
    except ToolError as error:
        if engine == "both":
            raise
        messages.detail(f"ig was not asked: {error}")
        return
    if found and engine == "both":
        raise ObjectError("ig shows something else\n" + "\n".join(map(str, found)), name=subject.name)
    for difference in found:
        messages.warn(f"{subject.name}: ig shows another {difference.name}\n{difference}")


def _shown_by_ig(subject: Subject, infos: Mapping[str, ExtraInfo]) -> dict[str, ExtraInfo]:
    """Leave out what ig shows of the image that a mere object is put into for it."""
    return {name: info for name, info in infos.items() if subject.picture or not name.startswith("oci.")}


def _summarise(subject: Subject, output_format: str, engine: str) -> None:
    if engine == "ig":
        raise UsageError("ig gives no summary", hint="pass --extra-info NAME or --output")
    if engine == "both":
        _compare(subject, extra_infos(subject), engine)
    found = facts(subject)
    if found["problem"]:
        messages.warn(f"{subject.name}: {found['problem']}")
    if output_format == "json":
        print_json(found)
    else:
        _print_summary(found)


def _print_summary(found: Mapping[str, Any]) -> None:
    print_table(_head(found), ["property", "value"])
    _print_part(
        [[each["name"], each["section"], str(each["n_instructions"])] for each in found["programs"]],
        ["program", "section", "instructions"],
    )
    _print_part([_map_row(each) for each in found["maps"]], ["map", "type", "key", "value", "entries"])
    for datasource in found["datasources"]:
        click.echo(f"\n{_title(datasource)}")
        print_table(
            [_field_row(each) for each in datasource["fields"]], ["field", "offset", "size", "kind", "type"]
        )
    _print_part(
        [_parameter_row(each) for each in found["parameters"]], ["parameter", "variable", "kind", "default"]
    )


def _print_part(rows: list[list[str]], headings: list[str]) -> None:
    if rows:
        click.echo()
        print_table(rows, headings)


def _head(found: Mapping[str, Any]) -> list[list[str]]:
    rows = {
        "name": found["name"],
        "digest": found["digest"],
        "architecture": found["architecture"],
        "created": found["created"],
        "object": format_bytes(found["size_bytes"]),
        "licence": found["license"],
    }
    return [[label, value] for label, value in rows.items() if value]


def _title(datasource: Mapping[str, Any]) -> str:
    through = f" {datasource['map']}" if datasource["map"] else ""
    size = plural(datasource["size_bytes"], "byte")
    return f"datasource {datasource['name']}: {datasource['kind']}{through}, {size}"


def _map_row(each: Mapping[str, Any]) -> list[str]:
    numbers = (each["key_size_bytes"], each["value_size_bytes"], each["max_entries"])
    return [each["name"], each["type"], *(str(number) if number else _NONE for number in numbers)]


def _field_row(each: Mapping[str, Any]) -> list[str]:
    type_name = each["type_names"][0] if each["type_names"] else _NONE
    return [each["name"], str(each["offset_bytes"]), str(each["size_bytes"]), each["kind"], type_name]


def _parameter_row(each: Mapping[str, Any]) -> list[str]:
    default = _NONE if each["default"] is None else str(each["default"]).lower()
    return [each["key"], each["variable"], each["kind"] or _NONE, default]
