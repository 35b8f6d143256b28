"""A gate's verdict for machines: JUnit's XML and SARIF 2.1.0."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gadgetops.questions.asking.stacks_of import Frame
from gadgetops.questions.leaks.budget import Finding, Gate, fingerprint
from gadgetops.questions.leaks.leaks import Leak
from gadgetops.report.gate import WHAT, finding_as_text
from gadgetops.report.leaks import frame_as_text
from gadgetops.units import format_bytes, format_count

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_SHOWN: Final = 100
"""How many stacks of a budget a file has at most."""


def gate_as_junit(gate: Gate, name: str) -> bytes:
    """Return a test suite with a case for each budget: failed if exceeded, an error if inconclusive."""
    cases = [_case(finding, name) for finding in gate.findings]
    suite = ET.Element(
        "testsuite",
        name="gadgetops check",
        tests=str(len(cases)),
        failures=str(sum(finding.verdict == "exceeded" for finding in gate.findings)),
        errors=str(sum(finding.verdict == "inconclusive" for finding in gate.findings)),
        skipped="0",
    )
    suite.extend(cases)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _case(finding: Finding, name: str) -> ET.Element:
    case = ET.Element("testcase", name=finding.name, classname=_xml(name))
    if finding.verdict != "ok":
        kind = "failure" if finding.verdict == "exceeded" else "error"
        result = ET.SubElement(case, kind, message=finding_as_text(finding), type=finding.verdict)
        result.text = _xml("\n\n".join(map(_block, finding.evidence[:_SHOWN])))
    return case


def _block(leak: Leak) -> str:
    frames = [frame_as_text(frame) for frame in leak.stack] or [f"<{leak.no_stack}>"]
    return "\n  ".join([_left(leak), *frames])


def gate_as_sarif(gate: Gate, name: str, version: str, root: Path) -> dict[str, Any]:
    """
    Return a log with a result for each stack that has a part in what is exceeded: an error, or a warning if
    that is not for certain.

    Args:
        gate: The verdict.
        name: Of the recording.
        version: Of this program.
        root: Folder of the sources: files in it are named relative to it.
    """
    driver = {
        "name": "gadgetops",
        "version": version,
        "informationUri": "https://pypi.org/project/gadgetops/",
        "rules": [{"id": rule, "shortDescription": {"text": text}} for rule, text in WHAT.items()],
    }
    run = {
        "tool": {"driver": driver},
        "originalUriBaseIds": {"SRCROOT": {"uri": f"{root.absolute().as_uri()}/"}},
        "results": [result for finding in gate.findings for result in _results(finding, name, root)],
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": [
                    {"level": "warning", "message": {"text": reason}} for reason in gate.certainty.reasons
                ],
            }
        ],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _results(finding: Finding, name: str, root: Path) -> Iterator[dict[str, Any]]:
    if finding.verdict == "ok":
        return
    common = {
        "ruleId": finding.name,
        "ruleIndex": [*WHAT].index(finding.name),
        "level": "error" if finding.verdict == "exceeded" else "warning",
    }
    sentence = f"{name}: {finding_as_text(finding)}"
    if not finding.evidence:
        yield {**common, "message": {"text": sentence}}
    for leak in finding.evidence[:_SHOWN]:
        first = next((frame for frame in leak.stack if frame.file is not None), None)
        yield {
            **common,
            "message": {"text": f"{_left(leak)}; {sentence}"},
            "locations": [] if first is None else [_location(first, root)],
            "partialFingerprints": {"gadgetopsStack/v1": fingerprint(leak)},
            **({"stacks": [_stack(leak, root)]} if leak.stack else {}),
        }


def _stack(leak: Leak, root: Path) -> dict[str, Any]:
    return {
        "message": {"text": "allocated"},
        "frames": [{"location": _location(frame, root)} for frame in leak.stack],
    }


def _location(frame: Frame, root: Path) -> dict[str, Any]:
    logical = {"logicalLocations": [{"fullyQualifiedName": frame.name, "kind": "function"}]}
    if frame.file is None:
        return logical
    region = {"region": {"startLine": frame.line}} if frame.line else {}
    return {"physicalLocation": {"artifactLocation": _artifact(frame.file, root), **region}, **logical}


def _artifact(file: str, root: Path) -> dict[str, str]:
    """Return where a source file is: relative to *root* if it is in it, or was never absolute."""
    path = Path(file)
    base = root.absolute()
    if path.is_absolute() and not path.is_relative_to(base):
        return {"uri": path.as_uri()}
    # A relative URI is quoted as an absolute one is.
    whole = (base / path).as_uri()
    return {"uri": whole.removeprefix(f"{base.as_uri()}/"), "uriBaseId": "SRCROOT"}


def _left(leak: Leak) -> str:
    return f"{format_bytes(leak.live_bytes)} in {format_count(leak.live_count)} allocations never released"


def _xml(text: str) -> str:
    """Return *text* without what XML 1.0 cannot hold."""
    return "".join(each if each in "\n\t" or each.isprintable() else "�" for each in text)
