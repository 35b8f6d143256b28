# SPDX-License-Identifier: Apache-2.0
"""
Write down what ig shows of each object here: NAME.flowchart.mmd, NAME.sequence.mmd, NAME.json.

    PATH=/where/ig/is:$PATH python tests/data/objects/expected.py [NAME]…

With ig 0.54 or newer on PATH. An older one, called afterwards, writes NAME.ig-0.48.json of those objects alone of
which it shows something else; `null` there is an object that it refuses. Of `no_btf`, which no ig loads, the three
files are written by hand. In the JSON, text is a list of lines, and lists that ig shows in random order are
sorted.
"""

import json
import sys
from pathlib import Path
from typing import Any

from gadgetops.gadget.reading.subject import open_subject
from gadgetops.gadget.reading.witness import ask, reading
from gadgetops.bpf.reading import NEWEST
from gadgetops.errors import ToolError

FOLDER = Path(__file__).parent
WITHOUT_IG = ("no_btf",)
DIAGRAMS = ("flowchart", "sequence")


def shown_by_ig(path: Path) -> dict[str, str]:
    """Return what ig shows of the object at *path*, by name of the extra info."""
    answer = json.loads(ask(open_subject(str(path)), ["-o", "json"]))
    return {name: info["content"] for name, info in answer.items()}


def lists(answer: dict[str, str]) -> dict[str, Any]:
    """Return the lists of *answer*, sorted, with text as lists of lines."""
    found = {
        key: json.loads(answer[f"ebpf.{key}"]) or [] for key in ("sections", "maps", "variables", "programs")
    }
    for program in found["programs"]:
        program |= {key: program[key].splitlines() for key in ("Source", "SourceWithRelocation")}
    for key in ("maps", "variables", "programs"):
        found[key].sort(key=lambda each: json.dumps(each, sort_keys=True))
    return found


def write_newest(path: Path) -> None:
    """Write what the newest ig shows of the object at *path*."""
    name = path.name.removesuffix(".bpf.o")
    answer = shown_by_ig(path)
    for diagram in DIAGRAMS:
        (FOLDER / f"{name}.{diagram}.mmd").write_text(answer[f"ebpf.{diagram}"])
    write_json(FOLDER / f"{name}.json", lists(answer))


def write_older(path: Path) -> None:
    """Write what ig 0.48 shows of the object at *path*, if that is something else."""
    name = path.name.removesuffix(".bpf.o")
    older = FOLDER / f"{name}.ig-0.48.json"
    older.unlink(missing_ok=True)
    try:
        answer = shown_by_ig(path)
    except ToolError:
        write_json(older, None)
        return
    diagrams = {diagram: answer[f"ebpf.{diagram}"].splitlines() for diagram in DIAGRAMS}
    newest = {
        diagram: (FOLDER / f"{name}.{diagram}.mmd").read_text().splitlines() for diagram in DIAGRAMS
    } | json.loads((FOLDER / f"{name}.json").read_text())
    if diagrams | lists(answer) != newest:
        write_json(older, diagrams | lists(answer))


def write_json(path: Path, value: Any) -> None:
    """Write *value* in one form."""
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


if __name__ == "__main__":
    write = write_newest if reading() == NEWEST else write_older
    for found in sorted(FOLDER.glob("*.bpf.o")):
        stem = found.name.removesuffix(".bpf.o")
        if stem not in WITHOUT_IG and stem in (sys.argv[1:] or [stem]):
            write(found)
