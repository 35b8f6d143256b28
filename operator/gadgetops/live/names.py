"""Names for the frames of a recording that has no symbols yet, found as they are shown and then kept."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gadgetops.live.texts import rows
from gadgetops.questions.asking.stacks_of import Frame, Stack, Stacks
from gadgetops.recording.schema import FAILED_STACK, NO_STACK

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from gadgetops.stacks.naming.symbols import Module


class Names:
    """Stacks by their ids, as far as they have been asked for."""

    def __init__(self) -> None:
        self._frame_ids: dict[int, Sequence[int]] = {}
        self._frames: dict[int, tuple[Frame, ...]] = {}
        self._modules: dict[tuple[str, str | None], Module] = {}

    def stacks(
        self, connection: "DuckDBPyConnection", stack_ids: Iterable[int], *, is_ended: bool
    ) -> Mapping[int, Stack]:
        """
        Return the stacks with these ids.

        Args:
            connection: Has the views of the recording.
            stack_ids: Those that are wanted.
            is_ended: Whether all stacks that there will be are there.
        """
        wanted = [*stack_ids]
        new = [each for each in wanted if each not in self._frame_ids]
        if new:
            found = {int(number): ids or () for number, ids in rows(connection, "stacks_named", ids=new)}
            self._frame_ids.update(found)
        unknown = {
            frame for each in wanted for frame in self._frame_ids.get(each, ()) if frame not in self._frames
        }
        if unknown:
            self._name(rows(connection, "frames_named", ids=sorted(unknown)))
        known = Stacks(self._frame_ids, self._frames)
        return {each: _said(each, known[each], is_ended=is_ended) for each in wanted}

    def forget(self) -> None:
        """Forget all names: the recording has symbols of its own now."""
        self._frames.clear()

    def _name(self, found: Sequence[tuple[Any, ...]]) -> None:
        functions: dict[int, list[Frame]] = {}
        for frame_id, *row in found:
            frame, build_id, pid = Frame(*row[:6]), row[6], row[7]
            functions.setdefault(int(frame_id), []).extend(self._located(frame, build_id, pid))
        self._frames.update({frame_id: tuple(frames) for frame_id, frames in functions.items()})

    def _located(self, frame: Frame, build_id: str | None, pid: int | None) -> list[Frame]:
        if frame.function is not None or frame.module is None or frame.module_offset is None:
            return [frame]
        if not frame.module.startswith("/"):
            return [frame]
        places = self._module(frame.module, build_id, pid).locate(frame.module_offset)
        return [
            frame._replace(function=place.function, file=place.file, line=place.line) for place in places
        ] or [frame]

    def _module(self, path: str, build_id: str | None, pid: int | None) -> "Module":
        # Imported here: a recording that has symbols needs none of it.
        from gadgetops.stacks.naming.symbols import Module  # noqa: PLC0415

        key = (path, build_id)
        if key not in self._modules:
            # As the process sees it, which may be in a container; the build id tells whether it is that one.
            inside = Path(f"/proc/{pid}/root{path}")
            is_inside = build_id is not None and os.access(inside, os.R_OK)
            self._modules[key] = Module(inside if is_inside else Path(path), build_id)
        return self._modules[key]


def _said(stack_id: int, stack: Stack, *, is_ended: bool) -> Stack:
    """Return *stack*; one that is still to be unwound says so."""
    if is_ended or stack.frames or stack_id in (NO_STACK, FAILED_STACK):
        return stack
    return Stack((), "a stack that is unwound when the recording ends")
