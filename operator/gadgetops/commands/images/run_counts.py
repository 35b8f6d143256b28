"""`docs --counts`: how often the edges of a gadget's drawing were taken, in a recording or while it runs."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gadgetops.bpf.diagrams.complete import CompleteGraph
from gadgetops.bpf.diagrams.counts import Count, Counts, of_events, of_runs
from gadgetops.bpf.object import Object
from gadgetops.commands.common import messages
from gadgetops.errors import UsageError
from gadgetops.units import format_bytes, parse_duration, plural

_NS: Final = 10**9
_SENDERS: Final = {"realloc_free": ("trace_uprobe_realloc",)}
"""Programs that send the events of an operation, where they are not called after it."""


def read_counts(text: str, obj: Object, graph: CompleteGraph) -> Counts:
    """
    Return the counts that the option's value *text* asks for: a recording, or how long to watch.

    Raises:
        UsageError: It is neither, or the recording's events are not those of the gadget.
        GadgetOpsError: The recording cannot be read, or what runs cannot be watched.
    """
    path = Path(text)
    if path.exists():
        return _of_recording(path, obj, graph)
    try:
        duration_ns = parse_duration(text)
    except UsageError as error:
        hint = "name a recording, or say how long to watch the gadget that runs: 10s"
        raise UsageError(f"--counts {text}: neither a recording nor a time", hint=hint) from error
    return _of_running(duration_ns / _NS, obj, graph)


def _of_recording(path: Path, obj: Object, graph: CompleteGraph) -> Counts:
    from gadgetops.recording.reader import open_recording

    recording = open_recording(path)
    if recording.header.get("engine") == "preload":
        raise UsageError(
            f"{path}: recorded by the preloaded library, without a BPF program",
            hint="record it with --engine ebpf",
        )
    with recording.connect() as connection:
        rows = connection.execute("select operation, count(*) from events group by all").fetchall()
    events: Counter[str] = Counter()
    for operation, n_events in rows:
        for program in _senders(operation, graph):
            events[program] += n_events
    if rows and not events:
        raise UsageError(
            f"{path}: none of its operations is one of this gadget's programs",
            hint="draw the gadget that made it: --image, or run this in its folder",
        )
    by_ring = recording.header.get("engine") == "libbpf"
    runs, uses = of_events(graph, obj.programs, events, by_ring=by_ring)
    caption = f"Counted from the {recording.n_events:,} events of the recording {path.name}."
    return Counts(caption, runs, uses)


def _senders(operation: str, graph: CompleteGraph) -> Iterator[str]:
    """Yield the programs of *graph* that send the events of *operation*."""
    names = _SENDERS.get(operation, (f"trace_uretprobe_{operation}", f"trace_uprobe_{operation}"))
    there = [name for name in names if name in graph.programs]
    # Where a function has two programs, the one at its return knows what it gave.
    yield from there[:1]


def _of_running(seconds: float, obj: Object, graph: CompleteGraph) -> Counts:
    from gadgetops.trace.kernel.run_counts import count_runs

    messages.say(f"counting for {seconds:g} s")
    found = count_runs(set(graph.programs), set(graph.maps), seconds)
    maps = {}
    for name, each in found.maps.items():
        if each.written_bytes is not None:
            maps[name] = f"{format_bytes(each.written_bytes)} written"
        elif each.n_entries is not None:
            maps[name] = f"{each.n_entries:,} now"
    times = "" if found.n_loaded == 1 else f", loaded {plural(found.n_loaded, 'time')}"
    caption = f"Counted for {found.seconds:.1f} s on {os.uname().nodename}{times}."
    runs = {name: Count.exactly(found.runs.get(name, 0)) for name in graph.programs}
    return Counts(caption, runs, of_runs(graph, obj.programs, found.runs), maps)
