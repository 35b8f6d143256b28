"""
A recording of a server with three leaks, a cache, start-up memory and temporary allocations, all known.

Each of `N_REQUESTS` requests, a millisecond each, by one of two threads in turn:

- `render` allocates 200 bytes and releases them at once;
- `cache_put` replaces the oldest of `N_CACHED` entries of 1,000 bytes;
- every 4th `open_session` forgets 2,048 bytes; every 2nd `copy_header` 96; every 10th `audit` 320.

Before them `load_config` allocates 100 blocks of 500 bytes, which stay. Ten times a second resident memory
was measured: `RESIDENT_BYTES` at first, and 1,000 bytes more with each request.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gadgetops.recording.schema import FrameRow, ModuleRow, ProcessRow, ResidentRow, StackRow, SymbolRow
from gadgetops.recording.writer import RecordingWriter

N_REQUESTS = 4000
N_CACHED = 64
MILLISECOND_NS = 1_000_000
RESIDENT_BYTES = 2 << 20
LEAKS = {"open_session": (4, 2048), "copy_header": (2, 96), "audit": (10, 320)}
"""By function: in every how manieth request, and how many bytes."""

_FUNCTIONS = ["main", "serve", "render", "cache_put", *LEAKS, "load_config", "__libc_start_main"]
_STACKS = {name: [_FUNCTIONS.index(name), 1, 0, 8] for name in ("render", "cache_put", *LEAKS)}
Event = tuple[int, str, int, int, str, int]
"""Time, operation, address, size, function, thread."""


def write_planted(path: Path, *, names: dict[str, str] | None = None, leaks: bool = True) -> Path:
    """
    Write the recording.

    Args:
        path: Its folder.
        names: What functions are called instead, by their names here.
        leaks: Whether the three leaks are in it.
    """
    writer = RecordingWriter.create(
        path,
        {
            "target": {"command": ["./server", "--port", "80"]},
            "host": {"name": "test"},
            "labels": {"version": "2" if leaks else "1"},
        },
    )
    writer.write_modules(
        [
            ModuleRow(0, 1, "/srv/server", None, 0x400000, 0x500000, 0, 0),
            ModuleRow(1, 1, "/lib/libc.so.6", None, 0x700000, 0x800000, 0, 0),
        ]
    )
    writer.write_frames(
        FrameRow(frame, 0x400000 + frame, int(frame == 8), 16 * frame) for frame in range(len(_FUNCTIONS))
    )
    writer.write_symbols(
        SymbolRow(
            frame, 0, (names or {}).get(name, name), None if frame == 8 else "/srv/server.c", 10 * frame + 5
        )
        for frame, name in enumerate(_FUNCTIONS)
    )
    stacks = {**_STACKS, "load_config": [7, 0, 8]}
    ids = {name: number for number, name in enumerate(stacks)}
    writer.write_stacks(StackRow(ids[name], frames) for name, frames in stacks.items())
    writer.write_processes([ProcessRow(0, 1, "start", None, "server", "web")])
    writer.write_resident(
        ResidentRow(request * MILLISECOND_NS + 1000, 1, RESIDENT_BYTES + 1000 * request)
        for request in range(0, N_REQUESTS, 100)
    )
    events = [*_events(leaks)]
    operations = ["malloc", "free"]
    writer.write_events(
        {
            "timestamp_ns": np.array([event[0] for event in events], np.uint64),
            "operation": np.array([operations.index(event[1]) for event in events], np.uint8),
            "address": np.array([event[2] for event in events], np.uint64),
            "size_bytes": np.array([event[3] for event in events], np.uint64),
            "stack_id": np.array([ids[event[4]] for event in events], np.int32),
            "pid": np.ones(len(events), np.uint64),
            "tid": np.array([event[5] for event in events], np.uint64),
            "lost": np.zeros(len(events), np.uint64),
        },
        operations,
    )
    writer.close(counters={"lost": 0}, end="complete")
    return writer.path


def _events(leaks: bool) -> Iterator[Event]:
    for block in range(100):
        yield 1000 + block, "malloc", 0x10000 + 1024 * block, 500, "load_config", 1
    next_address = 0x1000000
    for request in range(N_REQUESTS):
        now, tid = (request + 1) * MILLISECOND_NS, 1 + request % 2
        yield now, "malloc", 0x100, 200, "render", tid
        yield now + 100, "free", 0x100, 0, "render", tid
        cached = 0x800000 + 2048 * (request % N_CACHED)
        if request >= N_CACHED:
            yield now + 200, "free", cached, 0, "cache_put", tid
        yield now + 300, "malloc", cached, 1000, "cache_put", tid
        for number, (name, (every, size)) in enumerate(LEAKS.items()):
            if leaks and request % every == 0:
                yield now + 400 + number, "malloc", next_address, size, name, tid
                next_address += 4096
