"""
Count the calls of each thread for a moment, by a program that does nothing else.

A counted call is a trap, too, so that counting ends as soon as enough is known. How long each thread ran
meanwhile is asked of the scheduler, since a busy machine makes threads wait, and waiting calls nobody.
"""

import contextlib
import ctypes
import os
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from gadgetops.errors import KernelRefused, MissingRequirement
from gadgetops.trace.kernel import features, perf_event, uprobe_multi
from gadgetops.trace.kernel.bpf_syscall import bpf
from gadgetops.trace.kernel.trial import Trial, instruction, load_program
from gadgetops.trace.processes import memory_holder

MOST_SECONDS: Final = 0.25
"""How long calls are counted; what makes few calls hardly notices."""
_MOST_SECONDS_OF_WAITING: Final = 1.0
"""How long at most, where the busiest thread hardly ever has a processor."""
_LEAST_RUNNING_S: Final = 0.02
_FEW_CALLS: Final = 200
ENOUGH_CALLS: Final = 40_000
"""After so many calls counting ends: some 50 ms of a program that does little but allocate."""
_LEAST_SECONDS: Final = 0.05
_POLL_S: Final = 0.005
_CALLS_TO_TIME: Final = 1000
_TRIES: Final = 7
_HASH: Final = 1
_MAP_CREATE, _MAP_LOOK_UP, _MAP_NEXT = 0, 1, 4
_MOST_THREADS: Final = 16384
_KEY, _COUNT = struct.Struct("<II"), struct.Struct("<Q")
_LOOK_UP, _UPDATE, _CURRENT_THREAD = 1, 2, 14


class ThreadCalls(NamedTuple):
    """
    What one thread did while its calls were counted.

    Attributes:
        pid: Its process.
        tid: The thread.
        n_calls: Calls that were counted.
        seconds: How long it was watched.
        running_s: How long it ran meanwhile, traps included.
        waiting_s: How long it was ready to run and had no processor.
    """

    pid: int
    tid: int
    n_calls: int
    seconds: float
    running_s: float
    waiting_s: float


class Costs(NamedTuple):
    """
    What a probe takes on this machine, in seconds.

    Attributes:
        entry_s: At an instruction, with a program that counts.
        return_s: At the return of a function, likewise.
    """

    entry_s: float
    return_s: float


class _Sight(NamedTuple):
    """A thread at one moment."""

    n_calls: int
    at_s: float
    running_s: float
    waiting_s: float


Place = tuple[Path, int | None]
"""A file, and the process whose calls there are counted; None for all that map it."""


def count_calls(places: Mapping[Place, Sequence[int]]) -> list[ThreadCalls]:
    """
    Count what all threads call, for a quarter of a second at most.

    Args:
        places: First instructions of functions, as offsets in bytes, by file and process.

    Returns:
        What each thread did that called anything.

    Raises:
        TraceError: The kernel has no links, or refuses.
    """
    is_multi = _checked_way() == features.MULTI_LINKS
    for _, pid in places:
        if pid is not None and memory_holder(pid) != pid:
            # Links do not reach its other threads: nothing would be counted.
            raise KernelRefused("calls cannot be counted", f"the first thread of process {pid} has ended")
    try:
        attach_type = uprobe_multi.ATTACH_TYPE if is_multi else 0
        with _Counter(attach_type) as counter, contextlib.ExitStack() as links:
            for (path, pid), offsets in places.items():
                for fd in _links(counter.program_fd, path, offsets, pid, is_multi=is_multi):
                    links.callback(os.close, fd)
            return _watched(counter)
    except OSError as error:
        raise KernelRefused("calls cannot be counted", error.strerror) from error


def measure_costs() -> Costs:
    """
    Measure what a probe takes here, on a function of our own: the best of some tries.

    Raises:
        TraceError: As of `count_calls`.
    """
    is_multi = _checked_way() == features.MULTI_LINKS
    attach_type = uprobe_multi.ATTACH_TYPE if is_multi else 0
    try:
        with Trial(attach_type=attach_type) as trial, _Counter(attach_type) as counter:
            bare_s = _best_s(trial)
            found = []
            for at_return in (False, True):
                links = _links(
                    counter.program_fd, trial.path, [0], os.getpid(), is_multi=is_multi, at_return=at_return
                )
                try:
                    found.append(max(0.0, _best_s(trial) - bare_s))
                finally:
                    for fd in links:
                        os.close(fd)
    except OSError as error:
        raise KernelRefused("the cost of a probe cannot be measured", error.strerror) from error
    return Costs(*found)


def _checked_way() -> str:
    way = features.attach_way().name
    if way == features.EVENTS:
        raise MissingRequirement(
            "links to probes", "calls cannot be counted: the kernel has no links to probes"
        )
    return way


def _best_s(trial: Trial) -> float:
    return min(trial.seconds(_CALLS_TO_TIME) for _ in range(_TRIES)) / _CALLS_TO_TIME


def _watched(counter: "_Counter") -> list[ThreadCalls]:
    """Count until enough is known; a thread is watched from when it is first seen."""
    began_s = time.monotonic()
    first: dict[tuple[int, int], _Sight] = {}
    while True:
        time.sleep(_POLL_S)
        counts, took_s = counter.counts(), time.monotonic() - began_s
        for key in counts.keys() - first.keys():
            first[key] = _sight(key, counts[key])
        is_enough = sum(counts.values()) >= ENOUGH_CALLS or took_s >= MOST_SECONDS
        if took_s >= _MOST_SECONDS_OF_WAITING:
            break
        if took_s >= _LEAST_SECONDS and is_enough and _has_run_enough(counts, first):
            break
    seen = ((key, _sight(key, counts[key]), first[key]) for key in counts)
    return [_calls(key, last, before, began_s) for key, last, before in seen]


def _has_run_enough(counts: Mapping[tuple[int, int], int], first: Mapping[tuple[int, int], _Sight]) -> bool:
    """Return whether the busiest thread has run for long enough to say how often it calls."""
    key = max(counts, key=lambda each: counts[each], default=None)
    if key is None or counts[key] < _FEW_CALLS:
        return True
    now = _sight(key, counts[key])
    return not now.running_s or now.running_s - first[key].running_s >= _LEAST_RUNNING_S


def _calls(key: tuple[int, int], last: _Sight, first: _Sight, began_s: float) -> ThreadCalls:
    seconds = last.at_s - first.at_s
    if seconds < _LEAST_SECONDS / 2:
        # Seen at the end alone: it ran hardly ever.
        seconds = last.at_s - began_s
        return ThreadCalls(*key, last.n_calls, seconds, seconds, 0.0)
    running_s, waiting_s = last.running_s - first.running_s, last.waiting_s - first.waiting_s
    # A kernel without scheduling statistics says 0: then it ran all the time.
    is_known = last.running_s > 0
    return ThreadCalls(
        *key, last.n_calls - first.n_calls, seconds, running_s if is_known else seconds, waiting_s
    )


def _sight(key: tuple[int, int], n_calls: int) -> _Sight:
    try:
        fields = Path(f"/proc/{key[0]}/task/{key[1]}/schedstat").read_text().split()
        running_s, waiting_s = int(fields[0]) / 1e9, int(fields[1]) / 1e9
    except (OSError, ValueError, IndexError):
        running_s, waiting_s = 0.0, 0.0
    return _Sight(n_calls, time.monotonic(), running_s, waiting_s)


def _links(
    program_fd: int,
    path: Path,
    offsets: Sequence[int],
    pid: int | None,
    *,
    is_multi: bool,
    at_return: bool = False,
) -> list[int]:
    if is_multi:
        return [uprobe_multi.create_link(program_fd, path, offsets, at_return=at_return, pid=pid or 0)]
    fds = []
    for offset in offsets:
        event = perf_event.open_uprobe(path, offset, pid=pid or -1, at_return=at_return)
        fds += [perf_event.create_link(program_fd, event, cookie=0), event]
    return fds


class _Counter:
    """A program in the kernel that counts by thread how often it runs. Use as a context manager."""

    def __init__(self, attach_type: int) -> None:
        with contextlib.ExitStack() as stack:
            size = struct.pack("<IIIII", _HASH, _KEY.size, _COUNT.size, _MOST_THREADS, 0)
            self._map = bpf(_MAP_CREATE, size)
            stack.callback(os.close, self._map)
            self.program_fd = load_program(_program(self._map), attach_type)
            stack.callback(os.close, self.program_fd)
            self._open = stack.pop_all()

    def __enter__(self) -> "_Counter":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def counts(self) -> dict[tuple[int, int], int]:
        """Return how often it ran, by process and thread."""
        return {(pid, tid): self._count(tid, pid) for tid, pid in self._keys()}

    def _keys(self) -> Iterator[tuple[int, int]]:
        following, key = ctypes.create_string_buffer(_KEY.size), None
        while True:
            address = 0 if key is None else ctypes.addressof(key)
            request = struct.pack("<IIQQ", self._map, 0, address, ctypes.addressof(following))
            try:
                bpf(_MAP_NEXT, request)
            except OSError:
                return
            yield _KEY.unpack(following.raw)
            key = ctypes.create_string_buffer(following.raw, _KEY.size)

    def _count(self, tid: int, pid: int) -> int:
        key = ctypes.create_string_buffer(_KEY.pack(tid, pid), _KEY.size)
        value = ctypes.create_string_buffer(_COUNT.size)
        bpf(_MAP_LOOK_UP, struct.pack("<IIQQ", self._map, 0, ctypes.addressof(key), ctypes.addressof(value)))
        return int(_COUNT.unpack(value.raw)[0])


def _program(map_fd: int) -> bytes:
    """Return the instructions of the program: `enum bpf_opcode` spelled as in `struct bpf_insn`."""
    take_map = instruction(0x18, to=1, source=1, immediate=map_fd) + instruction(0)
    take_key = instruction(0xBF, to=2, source=10) + instruction(0x07, to=2, immediate=-8)
    return b"".join(
        [
            instruction(0x85, immediate=_CURRENT_THREAD),
            instruction(0x7B, to=10, source=0, offset=-8),  # the key: process and thread
            take_map,
            take_key,
            instruction(0x85, immediate=_LOOK_UP),
            instruction(0x15, to=0, offset=4),  # not there: make it
            instruction(0xB7, to=1, immediate=1),
            instruction(0xDB, to=0, source=1),  # += 1, atomically
            instruction(0xB7),
            instruction(0x95),
            instruction(0x7A, to=10, offset=-16, immediate=1),
            take_map,
            take_key,
            instruction(0xBF, to=3, source=10),
            instruction(0x07, to=3, immediate=-16),
            instruction(0xB7, to=4),
            instruction(0x85, immediate=_UPDATE),
            instruction(0xB7),
            instruction(0x95),
        ]
    )
