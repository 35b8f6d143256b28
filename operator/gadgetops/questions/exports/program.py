"""Which program a recording is about: its executable, and what its processes and files are called."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gadgetops.questions.texts import rows
from gadgetops.recording.reader import Recording

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_COMM_BYTES: Final = 15
"""The kernel keeps so much of a process's name."""


class Program(NamedTuple):
    """
    The program of a recording.

    Args:
        path: Path of the executable, or its name; None if neither is known.
        comms: Names of processes, by pid.
        build_ids: Build ids of files, by path, in hexadecimal digits; only those that are known.
        started_at_ns: When the recording began, since 1970; 0 where unknown.
    """

    path: str | None
    comms: dict[int, str]
    build_ids: dict[str, str]
    started_at_ns: int

    def name_of(self, pid: int) -> str:
        """Return the name of a process, or of the executable, or `process PID`."""
        executable = (self.path or "").rpartition("/")[2]
        return self.comms.get(pid) or executable or f"process {pid}"


def program_of(recording: Recording, connection: "DuckDBPyConnection") -> Program:
    """
    Return the program of *recording*.

    Args:
        connection: Has the views `modules` and `processes`.
    """
    paths = [path for (path,) in rows(connection, "module_paths")]
    comms = {int(pid): comm for pid, comm, _ in rows(connection, "process_names") if comm is not None}
    started = recording.header.get("started_at_ns")
    return Program(
        _executable([*_command(recording), *(comm for (comm,) in rows(connection, "comms"))], paths),
        comms,
        dict(rows(connection, "build_ids")),
        started if type(started) is int else 0,
    )


def _executable(names: Sequence[str], paths: Iterable[str]) -> str | None:
    """Return the first of *paths* whose file is called like one of *names*, or the first name."""
    files = [(path, path.rpartition("/")[2]) for path in paths]
    for name in names:
        known = name.rpartition("/")[2]
        for path, file in files:
            if known in (file, file[:_COMM_BYTES]):
                return path
    return names[0] if names else None


def _command(recording: Recording) -> list[str]:
    target: Any = recording.header.get("target")
    command = target.get("command") if isinstance(target, dict) else None
    return [command[0]] if isinstance(command, list) and command and isinstance(command[0], str) else []
