"""How many processes a program starts, as the kernel's tracer saw it: a witness that is not ours."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_TRACING: Final = Path("/sys/kernel/tracing")
_BUFFER_KIB: Final = 16384
_CLONE_THREAD: Final = 0x10000
_BIRTH: Final = re.compile(r"-(\d+) .*task_newtask: pid=(\d+) comm=.* clone_flags=([0-9a-f]+)")


class Births:
    """Tasks that began, of the whole machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._births: list[tuple[int, int, bool]] = []

    def read(self) -> None:
        """Take in what began until now."""
        lost = sum(
            int(line.rpartition(":")[2])
            for each in self._folder.glob("per_cpu/cpu*/stats")
            for line in each.read_text().splitlines()
            if line.startswith(("overrun:", "dropped events:"))
        )
        assert lost == 0, "more tasks began than the kernel's tracer has room for"
        for parent, child, flags in _BIRTH.findall((self._folder / "trace").read_text(errors="replace")):
            self._births.append((int(parent), int(child), bool(int(flags, 16) & _CLONE_THREAD)))

    def n_descendants(self, pid: int) -> int:
        """Return how many processes began below process *pid*."""
        process_of = {pid: pid}
        count = 0
        for parent, child, is_thread in self._births:
            if parent in process_of:
                process_of[child] = process_of[parent] if is_thread else child
                count += not is_thread
        return count


@contextmanager
def births() -> Iterator[Births]:
    """Watch tasks begin."""
    if not (_TRACING / "events/task/task_newtask").exists():
        os.system(f"mount -t tracefs tracefs {_TRACING} 2>/dev/null")
    folder = _TRACING / f"instances/gadgetops-{os.getpid()}"
    folder.mkdir()
    try:
        (folder / "buffer_size_kb").write_text(str(_BUFFER_KIB))
        (folder / "events/task/task_newtask/enable").write_text("1")
        yield Births(folder)
    finally:
        (folder / "events/task/task_newtask/enable").write_text("0")
        folder.rmdir()
