"""What tests of imports share: lines like ig's, and what becomes of them."""

import itertools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from gadgetops.recording.ig.importer import Importer, Summary, import_header
from gadgetops.recording.reader import open_recording
from gadgetops.recording.writer import RecordingWriter

SAMPLES = Path(__file__).parents[1] / "data/ig-output"
TEMPLATE = json.loads((SAMPLES / "v0.48.json").read_text().partition("\n")[0])


def event(**members: Any) -> dict[str, Any]:
    """Return an event of ig 0.48 with other *members*; mappings are merged, None removes one."""
    document = json.loads(json.dumps(TEMPLATE))
    for name, value in members.items():
        if value is None:
            document.pop(name)
        elif isinstance(value, dict):
            document[name] = document.get(name, {}) | value
        else:
            document[name] = value
    return dict(sorted(document.items()))


def line(**members: Any) -> bytes:
    """Return the same as ig prints it with `-o json`."""
    return json.dumps(event(**members), separators=(",", ":")).encode() + b"\n"


class Imported:
    """An import that is done."""

    def __init__(self, path: Path, summary: Summary) -> None:
        self.path = path
        self.summary = summary

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query on the recording."""
        with open_recording(self.path).connect() as connection:
            return connection.execute(query).fetchall()

    @property
    def header(self) -> dict[str, Any]:
        """recording.json."""
        header: dict[str, Any] = json.loads((self.path / "recording.json").read_text())
        return header


@pytest.fixture
def imported(tmp_path: Path) -> Callable[..., Imported]:
    """Import bytes, whole or in portions: `imported(b"…")`."""
    numbers = itertools.count()

    def run(data: bytes | Iterable[bytes], *, strict: bool = False, end: str = "complete") -> Imported:
        path = tmp_path / f"{next(numbers)}.gadgetrec"
        header = import_header("test")
        importer = Importer(lambda: RecordingWriter.create(path, header), source="test", strict=strict)
        for portion in [data] if isinstance(data, bytes) else data:
            importer.feed(portion)
        return Imported(path, importer.finish(end))

    return run
