"""Which programs the library cannot record, as far as their files tell."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from gadgetops.elf import Elf, SegmentType
from gadgetops.errors import GadgetOpsError
from gadgetops.trace.probes.executable import read_executable
from gadgetops.trace.probes.program import Executed, executed_by, gains_rights, objects_of, why_unseen

_SANITIZERS: Final = ("libasan", "libtsan", "liblsan", "libhwasan", "libclang_rt")
"""How runtimes begin that must be the first library of all, as `preload/program.c` has them."""


class Obstacle(NamedTuple):
    """
    Why nothing can be seen of what a program allocates.

    Args:
        reason: In words.
        refuses: Whether it would not even run with the library beside it.
    """

    reason: str
    refuses: bool


def obstacle_of(argv: Sequence[str]) -> Obstacle | None:
    """
    Return why nothing of what *argv* allocates can be seen by a preloaded library; None if it can.

    Raises:
        NoSuchProgram: The program will not be found, or lacks its interpreter.
        NotExecutable: The kernel will refuse it.
    """
    executed = executed_by(argv)[-1]
    path = executed.path
    if gains_rights(path):
        return Obstacle(f"{path} runs as another user", refuses=False)
    unseen = why_unseen(path)
    if unseen is not None:
        return Obstacle(f"{path} is {unseen}", refuses=True)
    try:
        return _in_file(executed)
    except (GadgetOpsError, OSError):
        return None


def _in_file(executed: Executed) -> Obstacle | None:
    path = executed.path
    if all(segment.type != SegmentType.INTERPRETER for segment in Elf.from_file(path).segments):
        return Obstacle(f"{path} is static", refuses=False)
    if read_executable(path).functions("malloc", exported_only=True):
        return Obstacle(f"{path} brings its own malloc()", refuses=False)
    if any(each.name.startswith(_SANITIZERS) for each in objects_of(executed)):
        return Obstacle(f"{path} runs under a sanitizer, which has its own malloc()", refuses=True)
    return None
