"""
The Firefox Profiler's processed format, version 60: every allocation and release, with its time and stack.

Described in the profiler's src/types/profile.ts and docs-developer/CHANGELOG-formats.md; newer versions of
the profiler read all older formats. A process is one thread there, since only within a thread a release finds
its allocation; the thread that it was by stands beside each.
"""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gadgetops import __version__
from gadgetops.questions.asking.question import of_what_is_readable
from gadgetops.questions.asking.stacks_of import Frame
from gadgetops.questions.exports.history import History, Origin, history
from gadgetops.recording.reader import Recording
from gadgetops.report.answers import printable
from gadgetops.report.exports.export import Export

if TYPE_CHECKING:
    import numpy as np

    Columns = Mapping[str, np.ndarray[Any, Any]]

_GECKO_VERSION: Final = 30
_VERSION: Final = 60
_NS_PER_MS: Final = 1e6
_END_MS: Final = 0.001
_LIBRARY: Final = 1
"""The type of a resource that is an executable or library."""
_OTHER: Final = 0


def write(export: Export, path: Path) -> str:
    """
    Write the changes of live memory to *path* and return how sure they are; gzip if its name ends so.

    Memory grows with the number of events, about 300 bytes each.

    Raises:
        RecordingError: The recording could not be read.
    """
    return _write(export.recording, export, path)


@of_what_is_readable
def _write(recording: Recording, export: Export, path: Path) -> str:
    with history(recording, export.filters) as found:
        content = json.dumps(_document(found, recording.path.name), separators=(",", ":")).encode()
    path.write_bytes(gzip.compress(content, compresslevel=1, mtime=0) if export.is_compressed else content)
    return found.certainty.word


def _document(found: History, name: str) -> dict[str, Any]:
    shared = _Shared(found)
    stacks = {number: shared.stack(origin) for number, origin in found.origins.items()}
    threads, counters = [], []
    columns = found.columns()
    for number, pid in enumerate(sorted({*columns["pid"].tolist()})):
        own = {key: values[columns["pid"] == pid] for key, values in columns.items()}
        threads.append(_thread(found, pid, own, stacks))
        counters.append(_counter(found, pid, number, own))
    return {
        "meta": _meta(found, name),
        "libs": shared.libs,
        "shared": shared.tables(),
        "threads": threads or [_thread(found, 0, columns, stacks)],
        "counters": counters,
    }


def _meta(found: History, name: str) -> dict[str, Any]:
    return {
        "interval": 1,
        "startTime": found.program.started_at_ns / _NS_PER_MS,
        "profilingStartTime": 0,
        # The profiler leaves out what happens at the end itself.
        "profilingEndTime": found.span.duration_ns / _NS_PER_MS + _END_MS,
        "processType": 0,
        "categories": [{"name": "Other", "color": "grey", "subcategories": ["Other"]}],
        "product": printable(found.program.path or name),
        "importedFrom": f"gadgetops {__version__}",
        "stackwalk": 1,
        "version": _GECKO_VERSION,
        "preprocessedProfileVersion": _VERSION,
        "symbolicated": True,
        "symbolicationNotSupported": True,
        "markerSchema": [],
        "usesOnlyOneStackType": True,
        "sourceCodeIsNotOnSearchfox": True,
        "sampleUnits": {"time": "ms", "eventDelay": "ms", "threadCPUDelta": "ns"},
    }


def _thread(found: History, pid: int, own: "Columns", stacks: Mapping[int, int]) -> dict[str, Any]:
    times = _times(found, own)
    allocations = {
        "time": times,
        "weight": own["change_bytes"].tolist(),
        "weightType": "bytes",
        # A release has no stack of its own: the profiler finds the one of its allocation by the address.
        "stack": [
            None if is_release else stacks[group_id]
            for group_id, is_release in zip(own["group_id"].tolist(), own["is_release"].tolist(), strict=True)
        ],
        "memoryAddress": own["address"].tolist(),
        "threadId": own["tid"].tolist(),
        "length": len(times),
    }
    allocating = ~own["is_release"].astype(bool)
    samples = {
        "stack": [stack for stack in allocations["stack"] if stack is not None],
        "time": [time for time, is_one in zip(times, allocating.tolist(), strict=True) if is_one],
        "weight": own["change_bytes"][allocating].tolist(),
        "weightType": "bytes",
        "length": int(allocating.sum()),
    }
    name = printable(found.program.name_of(pid))
    return {
        "processType": "default",
        "processStartupTime": 0,
        "processShutdownTime": None,
        "registerTime": 0,
        "unregisterTime": None,
        "pausedRanges": [],
        "name": name,
        "processName": name,
        "isMainThread": True,
        "pid": str(pid),
        "tid": pid,
        "samples": samples,
        "nativeAllocations": allocations,
        "markers": {
            **{key: [] for key in ("data", "name", "startTime", "endTime", "phase", "category")},
            "length": 0,
        },
    }


def _counter(found: History, pid: int, thread: int, own: "Columns") -> dict[str, Any]:
    return {
        "name": "malloc",
        "category": "Memory",
        "description": "Live memory",
        "pid": str(pid),
        "mainThreadIndex": thread,
        "samples": {
            "time": _times(found, own),
            "count": own["change_bytes"].tolist(),
            "length": len(own["change_bytes"]),
        },
    }


def _times(found: History, own: "Columns") -> list[float]:
    """Return milliseconds since the first event, to the nanosecond."""
    times: list[float] = ((own["timestamp_ns"] - found.span.first_ns) / _NS_PER_MS).tolist()
    return times


class _Shared:
    """The tables that stacks refer to."""

    def __init__(self, found: History) -> None:
        self.libs: list[dict[str, Any]] = []
        self._build_ids = found.program.build_ids
        self._texts: dict[str, int] = {}
        self._lib_numbers: dict[str, int] = {}
        self._sources: dict[str, int] = {}
        self._functions: dict[tuple[str, str, str], int] = {}
        self._frames: dict[tuple[Frame, int], int] = {}
        self._frame_functions: list[int] = []
        self._stacks: dict[tuple[int, int], int] = {}

    def stack(self, origin: Origin) -> int:
        """Return the number of a stack."""
        places = origin.places or ((Frame(origin.stack.name, None, None, None, None, 0),),)
        number = -1
        for place in reversed(places):
            # Root first: of what was inlined at one address the outermost function.
            for depth, frame in enumerate(reversed(place)):
                key = (self._frame(frame, depth), number)
                number = self._stacks.setdefault(key, len(self._stacks))
        return number

    def tables(self) -> dict[str, Any]:
        """Return what `shared` of a profile holds."""
        return {
            "stackTable": {
                "frame": [frame for frame, _ in self._stacks],
                "prefix": [None if prefix < 0 else prefix for _, prefix in self._stacks],
                "length": len(self._stacks),
            },
            "frameTable": self._frame_table(),
            "funcTable": self._function_table(),
            "resourceTable": {
                "lib": [*self._lib_numbers.values()],
                "name": [self._texts[lib["name"]] for lib in self.libs],
                "host": [None] * len(self.libs),
                "type": [_LIBRARY] * len(self.libs),
                "length": len(self.libs),
            },
            "nativeSymbols": {"libIndex": [], "address": [], "name": [], "functionSize": [], "length": 0},
            "sources": {
                "uuid": [None] * len(self._sources),
                "filename": [self._text(file) for file in self._sources],
                "length": len(self._sources),
            },
            "stringArray": [*self._texts],
        }

    def _frame_table(self) -> dict[str, Any]:
        n_frames = len(self._frames)
        return {
            "address": [
                -1 if frame.module_offset is None else frame.module_offset for frame, _ in self._frames
            ],
            "inlineDepth": [depth for _, depth in self._frames],
            "category": [_OTHER] * n_frames,
            "subcategory": [0] * n_frames,
            "func": self._frame_functions,
            "nativeSymbol": [None] * n_frames,
            "innerWindowID": [None] * n_frames,
            "line": [frame.line for frame, _ in self._frames],
            "column": [None] * n_frames,
            "length": n_frames,
        }

    def _function_table(self) -> dict[str, Any]:
        n_functions = len(self._functions)
        return {
            "name": [self._text(name) for name, _, _ in self._functions],
            "isJS": [False] * n_functions,
            "relevantForJS": [False] * n_functions,
            "resource": [self._lib_numbers.get(module, -1) for _, module, _ in self._functions],
            "source": [self._sources.get(file) for _, _, file in self._functions],
            "lineNumber": [None] * n_functions,
            "columnNumber": [None] * n_functions,
            "length": n_functions,
        }

    def _frame(self, frame: Frame, depth: int) -> int:
        key = (frame, depth)
        if key not in self._frames:
            self._frames[key] = len(self._frames)
            self._frame_functions.append(self._function(frame))
        return self._frames[key]

    def _function(self, frame: Frame) -> int:
        if frame.module is not None:
            self._lib(frame.module)
        if frame.file is not None:
            self._sources.setdefault(printable(frame.file), len(self._sources))
        key = (printable(frame.name), frame.module or "", printable(frame.file or ""))
        return self._functions.setdefault(key, len(self._functions))

    def _lib(self, path: str) -> None:
        if path in self._lib_numbers:
            return
        self._lib_numbers[path] = len(self.libs)
        build_id = self._build_ids.get(path, "")
        shown = printable(path)
        name = shown.rpartition("/")[2] or shown
        self._text(name)
        self.libs.append(
            {
                "arch": "",
                "name": name,
                "path": shown,
                "debugName": name,
                "debugPath": shown,
                # As breakpad has it: a GUID made of the first 16 bytes, and an age of 0.
                "breakpadId": f"{_guid(build_id)}0" if build_id else "",
                "codeId": build_id or None,
            }
        )

    def _text(self, text: str) -> int:
        return self._texts.setdefault(text, len(self._texts))


def _guid(build_id: str) -> str:
    """Return the first 16 bytes as a GUID: its first three numbers are little-endian."""
    padded = build_id.ljust(32, "0")[:32].upper()
    parts = [padded[i : i + 2] for i in range(0, 32, 2)]
    return "".join([*parts[3::-1], *parts[5:3:-1], *parts[7:5:-1], *parts[8:]])
