# SPDX-License-Identifier: Apache-2.0
"""
Write down what ig shows of each object here: NAME.flowchart.mmd, NAME.sequence.mmd, NAME.json.

    PATH=/where/ig/is:$PATH python tests/data/objects/expected.py

needs ig 0.48 on PATH. Of `no_btf`, which ig does not load, the three files are written by hand. In the JSON,
text is a list of lines, and lists that ig shows in random order are sorted.
"""

import json
from pathlib import Path

from gadgetops.gadget.reading.subject import open_subject
from gadgetops.gadget.reading.witness import ask

FOLDER = Path(__file__).parent
WITHOUT_IG = ("no_btf",)


def write(path: Path) -> None:
    """Write what ig shows of the object at *path*."""
    answer = {
        name: info["content"]
        for name, info in json.loads(ask(open_subject(str(path)), ["-o", "json"])).items()
    }
    name = path.name.removesuffix(".bpf.o")
    for diagram in ("flowchart", "sequence"):
        (FOLDER / f"{name}.{diagram}.mmd").write_text(answer[f"ebpf.{diagram}"])
    facts = {
        key: json.loads(answer[f"ebpf.{key}"]) or [] for key in ("sections", "maps", "variables", "programs")
    }
    for program in facts["programs"]:
        program |= {key: program[key].splitlines() for key in ("Source", "SourceWithRelocation")}
    for key in ("maps", "variables", "programs"):
        facts[key].sort(key=lambda each: json.dumps(each, sort_keys=True))
    (FOLDER / f"{name}.json").write_text(
        json.dumps(facts, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    )


if __name__ == "__main__":
    for found in sorted(FOLDER.glob("*.bpf.o")):
        if found.name.removesuffix(".bpf.o") not in WITHOUT_IG:
            write(found)
