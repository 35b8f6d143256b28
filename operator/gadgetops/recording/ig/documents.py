"""
Where one event of a stream ends and the next begins, in the forms that `ig run -o` has.

JSON lines stay together, as blocks of whole lines: they are decoded many at a time. Log lines between the
lines of an indented or YAML event are taken out.
"""

import re
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gadgetops.recording.ig.log import parse_log_line
from gadgetops.recording.ig.parts import line_ends

Form = Literal["json", "jsonpretty", "yaml"]

MAX_DOCUMENT_BYTES: Final = 16 << 20
"""A longer line, or event, is none: `ig`'s have about a thousand bytes."""

_YAML_START: Final = re.compile(rb"---|[A-Za-z_][\w.]*:(?: .*)?")
_MAYBE_LOG: Final = re.compile(rb"time=|\x1b\[|[A-Z]{4}\[|Warning: |Error: ")


_NO_ENDS: Final = np.empty(0, np.int64)


class Piece(NamedTuple):
    """
    Bytes that are decoded together.

    Attributes:
        data: Whole lines of JSON, or one event of the other forms, or one log line.
        line: Number of its first line, from 1.
        is_cut: Whether the stream ended or went on otherwise before it was whole.
        is_too_long: Whether more than `MAX_DOCUMENT_BYTES` were there; *data* is their beginning.
        ends: Where lines end in *data*, where it is a block of them.
    """

    data: bytes
    line: int
    is_cut: bool = False
    is_too_long: bool = False
    ends: NDArray[np.int64] = _NO_ENDS


class Splitter:
    """
    Splits a stream that arrives in any portions; each byte is given out once, in order.

    Attributes:
        form: None until the first line that is neither blank nor logged.
    """

    def __init__(self) -> None:
        self.form: Form | None = None
        self._rest = b""
        self._line = 1
        self._skipping = False
        self._open: list[bytes] = []
        self._open_line = 0
        self._open_bytes = 0

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield what *data* completes."""
        if self._skipping:
            data = self._skip(data)
        end = data.rfind(b"\n") + 1
        if end:
            lines = b"".join((self._rest, memoryview(data)[:end]))
            self._rest = data[end:]
            yield from self._whole_lines(lines)
        else:
            self._rest += data
        if len(self._rest) > MAX_DOCUMENT_BYTES:
            yield Piece(self._rest[:1000], self._line, is_too_long=True)
            self._rest, self._skipping = b"", True

    def finish(self) -> Iterator[Piece]:
        """Yield what is left when the stream has ended."""
        rest, self._rest = self._rest, b""
        if rest:
            for piece in self._whole_lines(rest):
                yield piece._replace(is_cut=True) if self.form in (None, "json") else piece
        if self._open:
            yield self._close(is_cut=self.form == "jsonpretty")

    def _skip(self, data: bytes) -> bytes:
        """Return what follows the too long line that *data* goes on with."""
        _, newline, after = data.partition(b"\n")
        if newline:
            self._skipping = False
            self._line += 1
        return after

    def _whole_lines(self, data: bytes) -> Iterator[Piece]:
        if self.form is None:
            self.form = _form(data)
        if self.form in (None, "json"):
            ends = line_ends(data)
            yield Piece(data, self._line, ends=ends)
            self._line += len(ends)
            return
        take = self._take_pretty if self.form == "jsonpretty" else self._take_yaml
        for line in data.splitlines(keepends=True) if b"\r" not in data else _split(data):
            if _MAYBE_LOG.match(line) and parse_log_line(line):
                yield Piece(line, self._line)
            else:
                yield from take(line)
            self._line += 1

    def _take_pretty(self, line: bytes) -> Iterator[Piece]:
        text = line.rstrip()
        if text == b"{" and self._open:
            yield self._close(is_cut=True)
        if self._open or text == b"{":
            yield from self._add(line)
            if text == b"}":
                yield self._close()
        elif text:
            yield Piece(line, self._line)

    def _take_yaml(self, line: bytes) -> Iterator[Piece]:
        if line.rstrip() != b"---":
            yield from self._add(line)
        elif self._open:
            yield self._close()

    def _add(self, line: bytes) -> Iterator[Piece]:
        if not self._open:
            self._open_line = self._line
        self._open.append(line)
        self._open_bytes += len(line)
        if self._open_bytes > MAX_DOCUMENT_BYTES:
            yield Piece(self._close().data[:1000], self._open_line, is_too_long=True)

    def _close(self, *, is_cut: bool = False) -> Piece:
        data = b"".join(self._open)
        self._open, self._open_bytes = [], 0
        return Piece(data, self._open_line, is_cut=is_cut)


def _form(data: bytes) -> Form | None:
    """Return the form of the stream that begins with the whole lines *data*."""
    for line in data.split(b"\n"):
        text = line.strip()
        if not text or parse_log_line(line):
            continue
        if text == b"{":
            return "jsonpretty"
        return "yaml" if _YAML_START.fullmatch(text) else "json"
    return None


def _split(data: bytes) -> list[bytes]:
    """Return the lines of *data*; a carriage return alone ends none."""
    lines = data.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
