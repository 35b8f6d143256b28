"""The only list of the formats of `gadgetops convert`; a module is imported when its format is asked for."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gadgetops.report.exports.export import Export


@dataclass(frozen=True)
class Format:
    """
    One format.

    Args:
        module: Of this package; its `write(export, path, …)` writes a file and returns the certainty's word.
        opened_by: What opens it, as Markdown, for docs/viewers.md; so are the next two.
        holds: What the file holds.
        tested_with: What opens it in the tests.
        is_text: Whether a terminal can show it.
        options: What `write` is given besides.
    """

    module: str
    opened_by: str
    holds: str
    tested_with: str
    is_text: bool = False
    options: Mapping[str, str] = field(default_factory=dict)

    def write(self, export: "Export", path: Path) -> str:
        """
        Write what is asked for to *path* and return the certainty's word.

        Raises:
            RecordingError: The recording could not be read.
            UsageError: A package is not installed that the format needs.
        """
        module = importlib.import_module(f"{__package__}.{self.module}")
        word: str = module.write(export, path, **self.options)
        return word


_ROWS: Final = (
    "an allocation a row, in no order: the columns of `allocations`, `live_bytes` (what is left "
    "of it), `is_live`, "
    "`fingerprint` and `stack`, root first"
)
FORMATS: Final[Mapping[str, Format]] = {
    "folded": Format(
        "folded",
        "`flamegraph.pl`, `inferno-flamegraph`",
        "`root;…;leaf value` lines: one value a stack, `--by` as in `top`",
        "its own lines",
        is_text=True,
    ),
    "pprof": Format(
        "pprof",
        "`go tool pprof -http=: FILE`",
        "[profile.proto](https://github.com/google/pprof/blob/main/proto/profile.proto), "
        "gzipped: `alloc_objects`, "
        "`alloc_space`, `inuse_objects`, `inuse_space` by stack; inlined functions as lines of "
        "their location; the "
        "label `pid`",
        "Go 1.26",
    ),
    "speedscope": Format(
        "speedscope",
        "`npx speedscope FILE`, or drop it on its page",
        "[JSON](https://www.speedscope.app/file-format-schema.json), eight flame graphs: not "
        "released, allocated, "
        "live at the peak, temporary, each in bytes and in allocations",
        "speedscope 1.25.0 in Chromium 156",
        is_text=True,
    ),
    "perfetto": Format(
        "perfetto",
        "https://ui.perfetto.dev",
        "a trace, with the extra `gadgetops[perfetto]`: live bytes and allocations at 2,000 "
        "moments, a heap profile of "
        "each process",
        "read back with the package `perfetto` 0.59.1 only: `trace_processor` is not published "
        "by any package registry",
    ),
    "heaptrack": Format(
        "heaptrack",
        "`heaptrack_gui FILE`, `heaptrack_print FILE`",
        "heaptrack's data file, format 3: every allocation and release, with its stack and time",
        "heaptrack 1.4.0, both programs",
        is_text=True,
    ),
    "massif": Format(
        "massif",
        "`ms_print FILE`, massif-visualizer",
        "valgrind's massif output: live bytes at 100 moments, and by stack at the peak and at the end",
        "valgrind 3.19",
        is_text=True,
    ),
    "firefox": Format(
        "firefox",
        'https://profiler.firefox.com, "Load a profile from file"',
        "the processed format, version 60: every allocation and release with its time and stack; "
        "a counter of live "
        "bytes of each process",
        "`@firefox-devtools/profiler-cli` 0.10.0, the profiler's own code",
        is_text=True,
    ),
    "otlp": Format(
        "otlp",
        "an OpenTelemetry collector, Pyroscope, Parca",
        "`ProfilesData` as protobuf, with the extra `gadgetops[otlp]`: a profile for each of "
        "pprof's four, a resource "
        "for each process",
        "the collector's `otlpreceiver` 0.165.0; others below",
    ),
    "csv": Format("rows", "DuckDB, pandas", _ROWS, "DuckDB", is_text=True, options={"row_format": "csv"}),
    "parquet": Format("rows", "DuckDB, pandas", _ROWS, "DuckDB", options={"row_format": "parquet"}),
    "ndjson": Format("rows", "DuckDB, `jq`", _ROWS, "DuckDB", is_text=True, options={"row_format": "ndjson"}),
}
"""Name -> format, in the order of the help."""
