"""
Which files a command executes, with which libraries: as execve(2) and the dynamic linker find them.

Nothing is executed here but the dynamic linker of a program, to list its libraries. A wrong guess costs
little: what a command executes besides is reached as soon as it is seen.
"""

import errno
import os
import re
import shlex
import stat
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from gadgetops import process
from gadgetops.elf import Elf, SegmentType
from gadgetops.errors import GadgetOpsError, NoSuchProgram, NotExecutable, ObjectError

SHELL: Final = "/bin/sh"
"""Runs what is neither a program nor names its interpreter, as execvp(3) has it."""
_HEAD_BYTES: Final = 256
"""`BINPRM_BUF_SIZE` since Linux 5.1: the kernel reads no more of a file to find out what it is."""
_MOST_SCRIPTS: Final = 5
"""More interpreters of interpreters are ELOOP."""
_BLANKS: Final = b" \t"
_ELF_MAGIC: Final = b"\x7fELF"
_CLASS_OFFSET: Final = 4
_CLASS_32: Final = 1
_HEADER_32: Final = struct.Struct("<28xI10xHH")
"""Of `Elf32_Ehdr`: `e_phoff`, `e_phentsize`, `e_phnum`."""
_SEGMENT_32: Final = struct.Struct("<II8xI")
"""Of `Elf32_Phdr`: `p_type`, `p_offset`, `p_filesz`."""
_LISTED: Final = re.compile(rb"\t(.+?) \(0x[0-9a-f]{8,}\)\n", re.DOTALL)
_ARROW: Final = " => "
_LIST_TIMEOUT_S: Final = 20
_ENV_VALUES: Final = ("-u", "--unset", "-C", "--chdir", "-a", "--argv0")
"""Options of env(1) whose value may be the next word."""
_ENV_SPLIT: Final = re.compile(r"(?:-[iv0]*S|--split-string=?)(.*)", re.DOTALL)
_ASSIGNMENT: Final = re.compile(r"[^=]+=", re.DOTALL)
_SECURE_VARIABLES: Final = ("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT")
"""What the dynamic linker leaves out for a program that runs with more rights than its user; see ld.so(8)."""


class Executed(NamedTuple):
    """
    A file that a command executes.

    Args:
        path: The file, links and all.
        environment: What it is given.
    """

    path: Path
    environment: Mapping[str, str]


def locate(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """
    Return the path that execvp(3) executes for *name*: with a slash *name* itself, else found on PATH.

    Raises:
        NoSuchProgram: There is none.
        NotExecutable: There is one, and it may not be executed.
    """
    folders = [] if "/" in name else environment.get("PATH", os.defpath).split(":")
    candidates = [os.path.join(folder, name) for folder in folders] if folders else [name]  # noqa: PTH118
    existing = [path for path in candidates if name and os.path.exists(path)]  # noqa: PTH110
    found = next((path for path in existing if _is_executable(path)), None)
    if found is not None:
        return found
    if existing:
        what = "a directory" if Path(existing[0]).is_dir() else "its mode does not let it be executed"
        raise NotExecutable(existing[0], what)
    if os.path.lexists(name):
        raise NoSuchProgram(name, "a symbolic link to what does not exist")
    raise NoSuchProgram(name, "no such program")


def find_program(name: str) -> Path:
    """
    Return the absolute path of program *name*, looked up on PATH.

    Raises:
        NoSuchProgram: There is none.
        NotExecutable: There is one, and it may not be executed.
    """
    return Path(locate(name)).absolute()


def executed_by(argv: Sequence[str]) -> list[Executed]:
    """
    Return the files that *argv* executes one after the other in its first process, as far as can be told.

    A script is followed to its interpreter, and env(1) to what it starts.

    Raises:
        NoSuchProgram: The kernel will not find the program, or the interpreter that it names.
        NotExecutable: The kernel will refuse one of them.
    """
    file = Path(locate(argv[0]))
    chain = [*_interpreters(file)]
    last, arguments = chain[-1]
    words = [*arguments, *(argv[1:] if len(chain) == 1 else [str(file), *argv[1:]])]
    found = [Executed(path, os.environ) for path, _ in chain]
    return [*found, *_started_by_env(last, words, 0)]


def objects_of(executed: Executed) -> list[Path]:
    """
    Return an executed file and its libraries in the order of lookup.

    Its own dynamic linker lists them, under its environment: LD_PRELOAD and LD_LIBRARY_PATH count. A file
    that is no 64-bit program, or whose libraries are not found, has none.
    """
    path = executed.path.resolve()
    linker = _dynamic_linker(path)
    if linker is None or _is_32_bit(path):
        return [path]
    environment = dict(executed.environment)
    if gains_rights(path):
        environment = {key: environment[key] for key in environment if key not in _SECURE_VARIABLES}
    try:
        # By its real path, from which the kernel and the linker have $ORIGIN, too.
        listing = process.run_bytes(
            [linker, "--list", str(path)], environment=environment, timeout_s=_LIST_TIMEOUT_S
        )
    except GadgetOpsError:
        return [path]
    return [path, *_listed(listing)]


def why_unseen(path: Path) -> str | None:
    """Return why nothing of what *path* allocates can be seen; None if that is not known beforehand."""
    return "a 32-bit program" if _is_32_bit(path) else None


def _is_executable(path: str) -> bool:
    return os.access(path, os.X_OK) and not Path(path).is_dir()


def _interpreters(file: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield what the kernel opens for *file*: itself, its interpreter, that one's; each with its argument."""
    yield file, []
    arguments: list[str] = []
    path = file
    for _ in range(_MOST_SCRIPTS + 1):
        head = _head(path)
        line = interpreter_line(head)
        if line is None:
            _check_program(path, head)
            if _needs_shell(head):
                yield Path(SHELL), arguments
            return
        interpreter, argument = line
        _check_interpreter(path, interpreter, "its first line names the interpreter")
        # The outer interpreter's file and argument follow the inner one's.
        arguments = [
            *([] if argument is None else [argument]),
            *([str(path), *arguments] if arguments else []),
        ]
        path = Path(interpreter)
        yield path, arguments
    raise NotExecutable(str(file), os.strerror(errno.ELOOP))


def interpreter_line(head: bytes) -> tuple[str, str | None] | None:
    """
    Return the interpreter and its one argument that the first line of a script names; None if it names none.

    By the rules of the kernel's `load_script`: the argument is the rest of the line, blanks and all. A line
    that is too long counts if the interpreter's name is whole.

    Args:
        head: The first 256 bytes of the file.
    """
    if not head.startswith(b"#!"):
        return None
    end = head.find(b"\n")
    if end < 0:
        # The kernel's buffer is filled with zeros, one of which ends a short file's line.
        line = head.ljust(_HEAD_BYTES, b"\0")[2 : _HEAD_BYTES - 1]
        name_and_more = line.lstrip(_BLANKS)
        if not name_and_more or not re.search(rb"[ \t\0]", name_and_more):
            return None
    else:
        line = head[2:end]
    name, rest = re.match(rb"([^ \t\0]*)(.*)", line.strip(_BLANKS), re.DOTALL).groups()  # type: ignore[union-attr]
    if not name:
        return None
    argument = b"" if rest.startswith(b"\0") else rest.lstrip(_BLANKS).partition(b"\0")[0]
    return os.fsdecode(name), os.fsdecode(argument) if argument else None


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_HEAD_BYTES)
    except OSError as error:
        raise NotExecutable(str(path), error.strerror or str(error)) from error


def _needs_shell(head: bytes) -> bool:
    """Return whether the kernel will not know what to do with a file that begins like this."""
    return not head.startswith(_ELF_MAGIC)


def _check_program(path: Path, head: bytes) -> None:
    """Raise if the kernel will refuse *path*, which is no script with an interpreter."""
    if head.startswith(_ELF_MAGIC):
        linker = _dynamic_linker(path)
        if linker is not None:
            _check_interpreter(path, linker, "it needs the dynamic linker")
    elif b"\0" in head.partition(b"\n")[0]:
        # As shells tell a text from what is none.
        raise NotExecutable(str(path), os.strerror(errno.ENOEXEC).lower())


def _check_interpreter(path: Path, interpreter: str, why: str) -> None:
    if not os.path.exists(interpreter):  # noqa: PTH110 - relative to the current folder, as it is written
        raise NoSuchProgram(str(path), f"{why} {interpreter!r}, which does not exist")
    if not _is_executable(interpreter):
        raise NotExecutable(str(path), f"{why} {interpreter!r}, which may not be executed")


def _started_by_env(path: Path, words: Sequence[str], depth: int) -> list[Executed]:
    """Return what env(1) executes, given *words*; nothing if *path* is not env, or starts nothing."""
    if path.name != "env" or depth > _MOST_SCRIPTS:
        return []
    name, rest, environment = _parsed_env(words)
    if name is None:
        return []
    try:
        file = Path(locate(name, environment))
        chain = [*_interpreters(file)]
    except GadgetOpsError:
        # Which is for env to say.
        return []
    last, arguments = chain[-1]
    words = [*arguments, *([str(file)] if len(chain) > 1 else []), *rest]
    return [*(Executed(each, environment) for each, _ in chain), *_started_by_env(last, words, depth + 1)]


def _parsed_env(words: Sequence[str]) -> tuple[str | None, list[str], dict[str, str]]:
    """Return the program that env(1) starts, its arguments and its environment."""
    waiting, environment = [*words], dict(os.environ)
    while waiting:
        word = waiting.pop(0)
        split = _ENV_SPLIT.fullmatch(word)
        if split is not None:
            text = split[1] or (waiting.pop(0) if waiting else "")
            waiting = [*_split(text), *waiting]
        elif word in _ENV_VALUES:
            value = waiting.pop(0) if waiting else ""
            if word in _ENV_VALUES[:2]:
                environment.pop(value, None)
        elif word in ("-", "-i", "--ignore-environment"):
            environment.clear()
        elif _ASSIGNMENT.match(word) and not word.startswith("-"):
            key, _, environment[key] = word.partition("=")
        elif not word.startswith("-"):
            return word, waiting, environment
    return None, [], environment


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()


def _listed(listing: bytes) -> Iterator[Path]:
    """
    Yield the paths in a dynamic linker's list, whose lines are `NAME => PATH (0xADDRESS)` or lack the name.

    Names and paths may have blanks, arrows and line ends themselves: what exists is the path.
    """
    for entry in map(os.fsdecode, _LISTED.findall(listing)):
        arrows = (match.end() for match in re.finditer(_ARROW, entry))
        found = next((entry[end:] for end in [*arrows, 0] if os.path.exists(entry[end:])), None)  # noqa: PTH110
        if found is not None:
            yield Path(found).resolve()


def _is_32_bit(path: Path) -> bool:
    head = _head(path)
    return head.startswith(_ELF_MAGIC) and head[_CLASS_OFFSET : _CLASS_OFFSET + 1] == bytes([_CLASS_32])


def _dynamic_linker(path: Path) -> str | None:
    """Return the dynamic linker that *path* names; None if it names none, or is no ELF file."""
    try:
        if _is_32_bit(path):
            return _linker_of_32_bit(path)
        segments = Elf.from_file(path).segments
    except (ObjectError, struct.error):
        return None
    names = (segment.data for segment in segments if segment.type == SegmentType.INTERPRETER)
    return next((os.fsdecode(bytes(name).rstrip(b"\0")) for name in names), None)


def _linker_of_32_bit(path: Path) -> str | None:
    data = path.read_bytes()
    table, entry_bytes, count = _HEADER_32.unpack_from(data)
    for index in range(count):
        kind, offset, size = _SEGMENT_32.unpack_from(data, table + index * entry_bytes)
        if kind == SegmentType.INTERPRETER:
            return os.fsdecode(data[offset : offset + size].rstrip(b"\0"))
    return None


def gains_rights(path: Path) -> bool:
    """Return whether *path* runs as another user or group than ours."""
    status = path.stat()
    as_user = status.st_mode & stat.S_ISUID and status.st_uid != os.geteuid()
    as_group = status.st_mode & stat.S_ISGID and status.st_gid != os.getegid()
    return bool(as_user or as_group)
