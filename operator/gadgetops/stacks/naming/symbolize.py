"""
From the return addresses of a recording to functions and lines, at its end or later, here or elsewhere.

All of one file's addresses are asked together, each once; `symbols` answers. Code that a process generated is
looked up in what its perf map and jitdump said, which the recording has.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import duckdb

from gadgetops.recording.reader import Recording
from gadgetops.recording.schema import JIT_MODULE, SymbolRow
from gadgetops.stacks.naming.files import File
from gadgetops.stacks.naming.symbols import DEBUG_FOLDER, Location, Module, debug_files, right_file

_MOST_ANCESTORS: Final = 16
_FRAMES: Final = """
    select
        frames.module_id,
        modules.path,
        modules.build_id,
        modules.file_offset,
        frames.frame_id,
        frames.module_offset,
        frames.frame_id in (
            select frame_ids[1] from stacks except select unnest(frame_ids[2:]) from stacks
        ) as is_leaf
    from stored_frames as frames
    join modules using (module_id)
    where modules.path <> $jit
    order by modules.path, modules.build_id, frames.module_id, frames.frame_id
"""

_FORKS: Final = "select pid, any_value(parent_pid) from processes where event = 'fork' group by pid"
_JIT_MODULES: Final = """
    select module_id, pid, timestamp_ns
    from modules
    where path = $jit and module_id in (select module_id from stored_frames)
    order by module_id
"""
_JIT_FRAMES: Final = """
    with
    wanted as (
        select frame_id, address - case when frame_id in (
            select frame_ids[1] from stacks except select unnest(frame_ids[2:]) from stacks
        ) then 0 else 1 end as address
        from stored_frames
        where module_id = $module_id
    ),
    found as (
        select
            wanted.frame_id, name, file, line,
            row_number() over (
                partition by wanted.frame_id
                -- What was there when the module begins, else the first that came.
                order by
                    timestamp_ns <= $since_ns desc,
                    case when timestamp_ns <= $since_ns then -timestamp_ns else timestamp_ns end,
                    timestamp_ns > $since_ns and line is null,
                    case when timestamp_ns <= $since_ns then -number else number end
            ) as place
        from wanted
        join jit_code on wanted.address >= jit_code.address
            and wanted.address < jit_code.address + jit_code.size_bytes
        where pid = $pid
    )
    select frame_id, name, file, line from found where place = 1 order by frame_id
"""


@dataclass(frozen=True)
class Finder:
    """
    Where the files of modules are, and their debug files.

    Attributes:
        files: Handles kept by the recorder, by number of the module.
        sysroot: The folder in which paths of modules are looked up.
        debug_folders: Folders with debug files, by build id or by path.
    """

    files: Mapping[int, File] = field(default_factory=dict)
    sysroot: Path = Path("/")
    debug_folders: tuple[Path, ...] = (DEBUG_FOLDER,)

    def module(self, module_id: int, path: str, build_id: str | None, mapped_offset: int) -> Module:
        """Return the module; one whose file is gone or another may know nothing."""
        return Module(
            self._file(module_id, path),
            build_id,
            beside=self._named(path).parent,
            folder=str(Path(path).parent),
            name=Path(path).name,
            mapped_offset=mapped_offset,
            debug_folders=self._every_debug_folder,
        )

    def code(self, module_id: int, path: str, build_id: str | None) -> Path | None:
        """Return the file of the module; None if it is gone or another one."""
        return right_file(self._file(module_id, path), build_id)

    def debug_file(self, module_id: int, path: str, build_id: str | None) -> Path | None:
        """Return the debug file of the module; None if there is none."""
        beside, folder = self._named(path).parent, str(Path(path).parent)
        code = self.code(module_id, path, build_id)
        return next(iter(debug_files(code, build_id, beside, folder, self._every_debug_folder)), None)

    @property
    def _every_debug_folder(self) -> list[Path]:
        return [*self.debug_folders, self.sysroot / str(DEBUG_FOLDER).lstrip("/")]

    def _named(self, path: str) -> Path:
        return self.sysroot / path.lstrip("/")

    def _file(self, module_id: int, path: str) -> Path:
        kept = self.files.get(module_id)
        return self._named(path) if kept is None else kept.path


def symbols_of(recording: Recording, finder: Finder) -> Iterator[SymbolRow]:
    """
    Yield the symbols of *recording*, as far as *finder* has the files.

    Raises:
        RecordingError: It cannot be read.
    """
    with recording.connect() as connection:
        rows = connection.execute(_FRAMES, {"jit": JIT_MODULE}).fetchall()
        yield from _symbols_of_generated(connection)
    for _, of_file in groupby(rows, key=lambda row: _identity(row[0], row[1], row[2])):
        yield from _symbols_of_file([*of_file], finder)


def _symbols_of_generated(connection: duckdb.DuckDBPyConnection) -> Iterator[SymbolRow]:
    """Yield the symbols of code that processes generated; a forked one has what its parent said, too."""
    parents = dict(connection.execute(_FORKS).fetchall())
    for module_id, pid, since_ns in connection.execute(_JIT_MODULES, {"jit": JIT_MODULE}).fetchall():
        asked: int | None = pid
        for _ in range(_MOST_ANCESTORS):
            if asked is None:
                break
            values = {"module_id": module_id, "pid": asked, "since_ns": since_ns}
            found = connection.execute(_JIT_FRAMES, values).fetchall()
            yield from (SymbolRow(frame_id, 0, name, file, line) for frame_id, name, file, line in found)
            asked = None if found else parents.get(asked)


def _identity(module_id: int, path: str, build_id: str | None) -> tuple[Any, ...]:
    """Return what is equal for equal files; one without a build id may have been replaced by another."""
    return (path, build_id) if build_id else (path, None, module_id)


def _symbols_of_file(rows: list[tuple[Any, ...]], finder: Finder) -> Iterator[SymbolRow]:
    module = finder.module(*rows[0][:4])
    known: dict[tuple[int, bool], list[Location]] = {}
    for *_, frame_id, offset, is_leaf in rows:
        key = (offset, is_leaf)
        if key not in known:
            known[key] = [*module.locate(offset, is_leaf=is_leaf)]
        for position, found in enumerate(known[key]):
            yield SymbolRow(frame_id, position, found.function, found.file, found.line)
