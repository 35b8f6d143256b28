"""
Resource limits that are meant for the command: lifted for the recorder, and as they were for the command.

`ulimit -n 64`, `-v` or `-t` before `record` says what the recorded program may take. The recorder has a
descriptor for each probe and each file that is mapped, and DuckDB crashes where memory cannot be had.
"""

import resource
from typing import Final

from gadgetops.errors import MissingRequirement

_N_DESCRIPTORS: Final = 1 << 16
_LIFTED: Final = {
    resource.RLIMIT_NOFILE: _N_DESCRIPTORS,
    resource.RLIMIT_AS: resource.RLIM_INFINITY,
    resource.RLIMIT_DATA: resource.RLIM_INFINITY,
    resource.RLIMIT_FSIZE: resource.RLIM_INFINITY,
    resource.RLIMIT_CPU: resource.RLIM_INFINITY,
}
_NEEDED: Final = {
    resource.RLIMIT_NOFILE: (256, "open files", "ulimit -n 1024"),
    resource.RLIMIT_AS: (2 << 30, "bytes of memory", "ulimit -v unlimited"),
}
"""The least that a recording takes, in which words, and the way out where a limit cannot be lifted."""

_Limit = tuple[int, int]
_before: dict[int, _Limit] = {}


def lift_limits() -> None:
    """
    Lift the limits of this process, as far as it may.

    Raises:
        TraceError: What is left is too little for a recording.
    """
    for kind, wanted in _LIFTED.items():
        before = resource.getrlimit(kind)
        lifted = _lift(kind, before, wanted)
        if lifted != before:
            _before.setdefault(kind, before)
        least, what, hint = _NEEDED.get(kind, (0, "", ""))
        if _is_less(lifted[0], least):
            raise MissingRequirement(
                what, f"the limit of {lifted[0]:,} {what} is too low for a recording", hint=hint
            )


def restore_limits() -> None:
    """Give this process, which is to become the command, the limits from before."""
    for kind, before in _before.items():
        resource.setrlimit(kind, before)


def _lift(kind: int, before: _Limit, wanted: int) -> _Limit:
    """Raise the limit *kind* to *wanted*, or as far as is allowed; return what it is then."""
    soft, hard = before
    if not _is_less(soft, wanted):
        return before
    highest = wanted if _is_less(hard, wanted) else hard
    for limit in ((wanted, highest), (hard, hard)):
        try:
            resource.setrlimit(kind, limit)
        except (OSError, ValueError):
            continue
        return limit
    return before


def _is_less(limit: int, than: int) -> bool:
    if limit == resource.RLIM_INFINITY:
        return False
    return than == resource.RLIM_INFINITY or limit < than
