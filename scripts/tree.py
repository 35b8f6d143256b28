#!/usr/bin/env python3
"""
The tree of the package in DEVELOPER.md: every folder and module, with the first line of its docstring.

    scripts/tree.py            say whether the document has it as it is on disk (status 1: it has not)
    scripts/tree.py --write    put it there
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "operator" / "gadgetops"
DOCUMENT = ROOT / "DEVELOPER.md"
BEGIN, END = "<!-- tree of the package, by scripts/tree.py -->\n", "<!-- here the tree stops -->"


def first_line(module: Path) -> str:
    """Return the first sentence's line of the docstring of *module*."""
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n\n")[0].replace("\n", " ")


def lines(folder: Path, depth: int = 0) -> Iterator[str]:
    """Yield a line for *folder*, its modules, and the folders in it."""
    yield f"{'  ' * depth}{folder.name + '/':<{34 - 2 * depth}}{first_line(folder / '__init__.py')}"
    for path in sorted(folder.glob("*.py")):
        if path.name != "__init__.py":
            yield f"{'  ' * depth}  {path.name:<{32 - 2 * depth}}{first_line(path)}"
    for path in sorted(folder.iterdir()):
        if (path / "__init__.py").exists():
            yield from lines(path, depth + 1)


def main() -> int:
    """Compare, or write."""
    text = DOCUMENT.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    tree = "\n".join(lines(PACKAGE))
    wanted = f"{head}{BEGIN}\n```text\n{tree}\n```\n\n{END}{tail}"
    if "--write" in sys.argv:
        DOCUMENT.write_text(wanted, encoding="utf-8")
    elif wanted != text:
        sys.stderr.write("DEVELOPER.md: the tree is not that on disk; run scripts/tree.py --write\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
