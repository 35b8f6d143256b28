"""`gadgetops doctor`: what can be recorded here, and what to do about the rest."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Final

import click

from gadgetops.commands.common.options import table_or_json_option, verb
from gadgetops.commands.common.output import print_json
from gadgetops.commands.options.store_option import store_option
from gadgetops.findings import Finding

_SIGNS: Final = {"works": "ok", "limited": "--", "missing": "NO", "unknown": "??"}
_ORDER: Final = ("recording", "stacks", "containers", "process", "images")
_MISSING: Final = 1


@verb("doctor", example="gadgetops doctor\ngadgetops doctor --pid 4711\ngadgetops doctor --format json")
@click.option("-p", "--pid", type=click.IntRange(min=1), metavar="N", help="Look at this process, too.")
@table_or_json_option()
@store_option
def command(pid: int | None, output_format: str, store: str) -> int:
    """Say what works here, what does not, and the one thing to do about each.

    It asks the kernel as `record` does: probes are tried on a function of gadgetops itself. With --pid, the
    calls of that process are counted for a quarter of a second. Nothing is changed. The exit status is 0 if
    `record` works here for processes, too, else 1.
    """
    findings = _findings(pid, store)
    is_able = not any(finding.prevents_recording for finding in findings)
    if output_format == "json":
        able = {"can_record": is_able, "can_record_commands": is_able or records_commands(findings)}
        print_json({**able, "findings": [asdict(finding) for finding in findings]})
    else:
        _print(findings, is_able=is_able)
    return 0 if is_able else _MISSING


def _findings(pid: int | None, store: str) -> list[Finding]:
    from gadgetops.gadget.reading.diagnosis import image_findings
    from gadgetops.trace.diagnosis.machine import machine_findings

    found = [*machine_findings(Path()), *image_findings(store)]
    if pid is not None:
        from gadgetops.trace.diagnosis.target import process_findings

        found += process_findings(pid)
    return sorted(found, key=lambda finding: _ORDER.index(finding.area))


def records_commands(findings: Iterable[Finding]) -> bool:
    """Return whether commands can be recorded though others cannot: that takes a library and a folder."""
    states = {finding.name: finding.state for finding in findings}
    return states["preloaded library"] == "works" and states["disk"] != "missing"


def _print(findings: Sequence[Finding], *, is_able: bool) -> None:
    width = max(len(finding.name) for finding in findings)
    for area, group in groupby(findings, key=lambda finding: finding.area):
        click.echo(f"{area}:")
        for finding in group:
            click.echo(f"  {_SIGNS[finding.state]}  {finding.name:<{width}}  {finding.detail}")
            if finding.remedy is not None:
                click.echo(f"      {'':<{width}}  -> {finding.remedy}")
        click.echo()
    click.echo(_verdict(findings, is_able=is_able))


def _verdict(findings: Iterable[Finding], *, is_able: bool) -> str:
    if is_able:
        return "`gadgetops record` works here."
    missing = [finding.name for finding in findings if finding.prevents_recording]
    if records_commands(findings):
        return (
            f"`gadgetops record -- CMD` works here, by a preloaded library; running processes, containers and"
            f" the host cannot be recorded; in the way: {', '.join(missing)}."
        )
    return f"`gadgetops record` does not work here; in its way: {', '.join(missing)}."
