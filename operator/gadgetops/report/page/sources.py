"""
Lines of source files around a recording's frames.

A recording names files, and may come from a stranger: only what has the name of a source file is read, and
little of it.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from stat import S_ISREG
from typing import Final

from gadgetops.questions.asking.stacks_of import Frame

SUFFIXES: Final = frozenset(
    f".{suffix}"
    for suffix in (
        *("c", "cc", "cpp", "cxx", "h", "hh", "hpp", "hxx", "inc", "inl", "s", "S"),
        *("d", "f", "f90", "go", "hs", "java", "js", "kt", "m", "ml", "mm", "nim", "pas", "php", "py", "pyx"),
        *("rb", "rs", "swift", "ts", "zig"),
    )
)
_AROUND: Final = 2
_MOST_LINES: Final = 5000
_MOST_BYTES: Final = 4 << 20
_LINE_LENGTH: Final = 200


def source_lines(frames: Iterable[Frame]) -> dict[str, list[str]]:
    """
    Return some lines around each of *frames* whose file is here, by `FILE:LINE`.

    The line itself has two before it, fewer at a file's beginning, and two behind it.
    """
    found: dict[str, list[str]] = {}
    for frame in frames:
        if frame.file is None or not frame.line or len(found) * (2 * _AROUND + 1) > _MOST_LINES:
            continue
        lines = _lines_of(frame.file)
        if 0 < frame.line <= len(lines):
            around = lines[max(0, frame.line - 1 - _AROUND) : frame.line + _AROUND]
            found[f"{frame.file}:{frame.line}"] = [line[:_LINE_LENGTH] for line in around]
    return found


@cache
def _lines_of(name: str) -> tuple[str, ...]:
    path = Path(name)
    try:
        if path.suffix not in SUFFIXES or not path.is_absolute() or path.resolve().suffix not in SUFFIXES:
            return ()
        status = path.stat()
        if not S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
            return ()
        return tuple(path.read_text(encoding="utf-8", errors="replace").splitlines())
    except (OSError, ValueError):
        return ()
