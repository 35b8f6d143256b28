"""Processes that cannot be recorded, whatever they map: each refused with a sentence and the way out."""

import os
from pathlib import Path
from typing import Final

from gadgetops.errors import TargetGone, TraceError
from gadgetops.trace.probes.link_map import not_allowed
from gadgetops.trace.probes.program import why_unseen
from gadgetops.trace.processes import is_alive, is_kernel_thread, memory_holder, name_of, parent_of

_LOOK: Final = "give the number of a program; `ps` shows the running ones"


def check_process(pid: int) -> None:
    """
    Raise if nothing of process *pid* can be recorded.

    Raises:
        TraceError: It is not there, has ended, has no memory of its own, is of another machine, or records.
    """
    name = name_of(pid)
    if name is None:
        raise TraceError(f"no process {pid}", hint=_LOOK)
    who = f"process {pid} ({name})"
    if is_kernel_thread(pid):
        raise TraceError(f"{who} is a thread of the kernel: it calls no allocator", hint=_LOOK)
    if not is_alive(pid):
        hint = f"its parent, process {parent_of(pid)}, has not asked for its status: nothing of it runs"
        raise TargetGone(who, hint=hint)
    if pid == os.getpid():
        raise TraceError(f"{who} is this recorder: each event would make further ones", hint=_LOOK)
    try:
        program = Path(f"/proc/{memory_holder(pid)}/exe")
        program.readlink()
    except PermissionError as error:
        # Its mappings may be listed all the same, but no file of them can be opened.
        raise not_allowed(pid, error) from error
    except (FileNotFoundError, ProcessLookupError) as error:
        raise TargetGone(who) from error
    if unseen := why_unseen(program):
        raise TraceError(
            f"{who} is {unseen}: only 64-bit ones can be recorded", hint="record a build for 64 bits"
        )
