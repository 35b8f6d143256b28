"""What imported events refer to, each numbered once: stacks, frames, modules, processes, operations."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from gadgetops.recording.ig.event import Context, Stack
from gadgetops.recording.ig.stack import StackFrame
from gadgetops.recording.operations import NAMES
from gadgetops.recording.schema import (
    FAILED_STACK,
    NO_STACK,
    FrameRow,
    ModuleRow,
    ProcessRow,
    StackRow,
    SymbolRow,
)
from gadgetops.recording.writer import RecordingWriter

_OTHER_OPERATION: Final = "unknown"
_MOST_NAMES: Final = len(NAMES) + 16
"""So many different operations keep their names; further ones are called `unknown`."""
_KEPT_CONTAINERS: Final = 1000


class Who(NamedTuple):
    """What the recording keeps of a `Context`; *operation* is an index into `Registry.operations`."""

    pid: int
    tid: int
    operation: int
    lost: int


class Registry:
    """
    Numbers what events refer to, and keeps the rows of it until `write` takes them.

    Attributes:
        operations: Names by number, ready for `RecordingWriter.write_events`.
        unknown_operations: Names of operations that no answer knows, in the order in which they came.
        containers: What is known about each container, by its name.
        nodes: The machines that events came from, on Kubernetes.
        lacks_lost: Whether an event did not say how many were lost before it.
        lost: The most that an event said.
    """

    def __init__(self) -> None:
        self.operations: list[str] = [*NAMES, _OTHER_OPERATION]
        self.unknown_operations: list[str] = []
        self.containers: dict[str, dict[str, str]] = {}
        self.nodes: set[str] = set()
        self.lacks_lost = False
        self.lost = 0
        self._codes = {name: code for code, name in enumerate(NAMES)}
        self._processes: dict[int, str | None] = {}
        self._stacks: dict[bytes, int] = {}
        self._frames: dict[StackFrame, int] = {}
        self._modules: dict[tuple[str, int], int] = {}
        self._new_modules: list[ModuleRow] = []
        self._new_frames: list[FrameRow] = []
        self._new_symbols: list[SymbolRow] = []
        self._new_stacks: list[StackRow] = []
        self._new_processes: list[ProcessRow] = []

    def who(self, context: Context, timestamp_ns: int) -> Who:
        """Return what *context*, first seen at *timestamp_ns*, is in the recording."""
        self._note_process(context, timestamp_ns)
        self.lacks_lost |= context.lost is None
        self.lost = max(self.lost, context.lost or 0)
        code = self._operation(context.operation_name)
        return Who(context.proc.pid, context.tid, code, context.lost or 0)

    def stack(self, stack: Stack | None, timestamp_ns: int) -> int:
        """Return the number of *stack*, or the one that says why there is none. Raises `ValueError`."""
        if stack is None or not stack.is_collected:
            return NO_STACK
        frames = stack.frames()
        if not frames:
            return FAILED_STACK
        key = hashlib.blake2b(repr(frames).encode(errors="backslashreplace"), digest_size=16).digest()
        number = self._stacks.get(key)
        if number is None:
            number = self._stacks[key] = len(self._stacks)
            ids = [self._frame(frame, stack.tgid_level0, timestamp_ns) for frame in frames]
            self._new_stacks.append(StackRow(number, ids))
        return number

    def write(self, writer: RecordingWriter) -> None:
        """Give the rows that are new to *writer*: before the events that refer to them."""
        _hand_over(self._new_modules, writer.write_modules)
        _hand_over(self._new_frames, writer.write_frames)
        _hand_over(self._new_symbols, writer.write_symbols)
        _hand_over(self._new_stacks, writer.write_stacks)
        _hand_over(self._new_processes, writer.write_processes)

    def _operation(self, name: str) -> int:
        code = self._codes.get(name)
        if code is None:
            code = self._new_operation(name)
        return code

    def _new_operation(self, name: str) -> int:
        if len(self._codes) >= _MOST_NAMES:
            return self.operations.index(_OTHER_OPERATION)
        self.operations.append(name)
        self.unknown_operations.append(name)
        self._codes[name] = len(self.operations) - 1
        return self._codes[name]

    def _note_process(self, context: Context, timestamp_ns: int) -> None:
        pid, container = context.proc.pid, context.container
        if pid not in self._processes or self._processes[pid] != container:
            self._processes[pid] = container
            row = ProcessRow(timestamp_ns, pid, "start", None, context.proc.comm or None, container)
            self._new_processes.append(row)
        if container is not None and len(self.containers) < _KEPT_CONTAINERS:
            self.containers.setdefault(container, context.container_facts())
        if context.k8s.node:
            self.nodes.add(context.k8s.node)

    def _frame(self, frame: StackFrame, pid: int, timestamp_ns: int) -> int:
        number = self._frames.get(frame)
        if number is None:
            number = self._frames[frame] = len(self._frames)
            module = self._module(frame, pid, timestamp_ns)
            self._new_frames.append(FrameRow(number, frame.address, module, frame.module_offset))
            if frame.function is not None:
                self._new_symbols.append(SymbolRow(number, 0, frame.function, None, None))
        return number

    def _module(self, frame: StackFrame, pid: int, timestamp_ns: int) -> int | None:
        """Return the number of the module that *frame* names; its path and its end nobody knows."""
        if frame.build_id is None or frame.module_offset is None:
            return None
        start = max(0, frame.address - frame.module_offset)
        number = self._modules.get((frame.build_id, start))
        if number is None:
            number = self._modules[frame.build_id, start] = len(self._modules)
            path = f"build-id:{frame.build_id}"
            row = ModuleRow(number, pid, path, frame.build_id, start, start, 0, timestamp_ns)
            self._new_modules.append(row)
        return number


def _hand_over(rows: list[Any], write: Callable[[Iterable[Any]], None]) -> None:
    if rows:
        write([*rows])
        rows.clear()
