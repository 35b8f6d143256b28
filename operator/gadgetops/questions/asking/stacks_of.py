"""
The stacks of a recording: their frames, which of them are the same to people, and how they are named.

A stack id is one list of return addresses. Two ids are one stack if their frames are the same places in the
program, as with a library that was loaded at two addresses.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gadgetops.questions.asking.fingerprint import fingerprint, frame_name
from gadgetops.questions.texts import rows
from gadgetops.recording.schema import FAILED_STACK, NO_STACK

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_NO_FRAMES: Final = {NO_STACK: "no stack was collected", FAILED_STACK: "its stack could not be collected"}
_NOT_RECORDED: Final = "its stack is not in the recording"


class Frame(NamedTuple):
    """
    One function of a stack.

    Args:
        function: None where unknown.
        file: Source file; None where unknown.
        line: Line in it; None where unknown.
        module: Path of the executable or library; None where unknown.
        module_offset: The address as an offset in bytes into the module; None where unknown.
        address: The return address in the process; 0 where unknown.
    """

    function: str | None
    file: str | None
    line: int | None
    module: str | None
    module_offset: int | None
    address: int

    @property
    def identity(self) -> tuple[Any, ...]:
        """What two frames share that are one place in the program, however often it was loaded."""
        if self.function is not None:
            return (self.function, self.file, self.line, self.module)
        return (self.module, self.module_offset) if self.module_offset is not None else (self.address,)

    @property
    def name(self) -> str:
        """The function, or `module+0x…`, or `0x…`, or `<unknown>`."""
        if self.function is not None:
            return self.function
        if self.module is not None and self.module_offset is not None:
            return f"{self.module}+{self.module_offset:#x}"
        return f"{self.address:#x}" if self.address else "<unknown>"

    def to_json(self) -> dict[str, Any]:
        """Return the frame as the documented JSON."""
        return self._asdict()


class Stack(NamedTuple):
    """
    A call's callers.

    Args:
        frames: Leaf first, innermost inlined function first; may be empty.
        no_stack: Why it is empty; None if it is not.
    """

    frames: tuple[Frame, ...]
    no_stack: str | None

    @property
    def name(self) -> str:
        """The names of the frames root first, parted by `;`; why there are none in `<>`."""
        names = [frame.name.replace(";", ":") for frame in reversed(self.frames)]
        return ";".join(names) or f"<{self.no_stack}>"

    @property
    def fingerprint(self) -> str:
        """What the stack is called by in every recording of the program; see `analysis.fingerprint`."""
        names = [frame_name(frame.function, frame.module, frame.module_offset) for frame in self.frames]
        return fingerprint(names or [f"<{self.no_stack}>"])


class Stacks:
    """
    The stacks of one recording.

    Args:
        frame_ids: Frame ids of each stack id, leaf first.
        frames: Functions of each frame id, innermost inlined first.
    """

    def __init__(
        self, frame_ids: Mapping[int, Sequence[int]], frames: Mapping[int, tuple[Frame, ...]]
    ) -> None:
        self.frames = frames
        self._frame_ids = frame_ids

    def __getitem__(self, stack_id: int) -> Stack:
        """Return the stack with that id; an empty one, which says why, where it has no frames."""
        frames = tuple(
            frame for frame_id in self._frame_ids.get(stack_id, ()) for frame in self.functions(frame_id)
        )
        return Stack(frames, None if frames else _NO_FRAMES.get(stack_id, _NOT_RECORDED))

    def frame_ids(self, stack_id: int) -> Sequence[int]:
        """Return the ids of the frames of a stack, leaf first."""
        return self._frame_ids.get(stack_id, ())

    def places(self, stack_id: int) -> tuple[tuple[Frame, ...], ...]:
        """Return the stack place by place, leaf first; of each the innermost inlined function first."""
        return tuple(map(self.functions, self.frame_ids(stack_id)))

    def merged(self, stack_ids: Iterable[int]) -> dict[int, int]:
        """Return for each of *stack_ids* the smallest of them that is the same stack to people."""
        first: dict[Any, int] = {}
        return {stack_id: first.setdefault(self._key(stack_id), stack_id) for stack_id in sorted(stack_ids)}

    def _key(self, stack_id: int) -> Any:
        places = tuple(self._places.get(frame_id, -1) for frame_id in self._frame_ids.get(stack_id, ()))
        return places or self[stack_id].no_stack

    @cached_property
    def _places(self) -> dict[int, int]:
        """A number for each frame id, the same for those that are one place."""
        numbers: dict[Any, int] = {}
        return {
            frame_id: numbers.setdefault(tuple(frame.identity for frame in functions), len(numbers))
            for frame_id, functions in self.frames.items()
        }

    def functions(self, frame_id: int) -> tuple[Frame, ...]:
        """Return the functions of one place, innermost inlined first; an unknown one if nothing is known."""
        return self.frames.get(frame_id) or (Frame(None, None, None, None, None, 0),)


def stacks_of(connection: "DuckDBPyConnection") -> Stacks:
    """Return the stacks that the views `stacks`, `frames` and `modules` of *connection* have."""
    frame_ids = {int(stack_id): ids or () for stack_id, ids in rows(connection, "stacks")}
    return Stacks(frame_ids, dict(_frames(rows(connection, "frames"))))


def _frames(found: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, tuple[Frame, ...]]]:
    for frame_id, group in groupby(found, key=lambda row: int(row[0])):
        yield frame_id, tuple(Frame(*row[1:]) for row in group)
