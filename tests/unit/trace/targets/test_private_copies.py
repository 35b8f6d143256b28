"""Private copies of libraries: gone with their recorder, or with the next one."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gadgetops.trace.targets.launch import private_copies

# Has a copy of argv[1] until its standard input ends; prints its path.
RECORDER = """
import sys
from pathlib import Path
from gadgetops.trace.targets.launch import private_copies
with private_copies([Path(sys.argv[1])]) as copies:
    print(*copies.values(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """What is copied."""
    (tmp_path / "library.so").write_bytes(b"code")
    return tmp_path / "library.so"


@contextmanager
def recorder(library: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process with a copy of *library*, and where that is."""
    argv = [sys.executable, "-c", RECORDER, str(library)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def folder_of(copy: Path) -> Path:
    return copy.parent.parent


def test_copies_are_gone_afterwards(library: Path) -> None:
    with private_copies([library]) as copies:
        assert copies[library].read_bytes() == b"code"
    assert not folder_of(copies[library]).exists()


def test_a_copy_has_the_rights_of_its_original_and_nobody_else_finds_it(library: Path) -> None:
    """A set-user-ID program of one user must not become one of ours."""
    os.chown(library, 65534, 65533)
    library.chmod(stat.S_ISUID | 0o755)
    with private_copies([library]) as copies:
        status = copies[library].stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (65534, 65533, 0o4755)
        assert stat.S_IMODE(folder_of(copies[library]).stat().st_mode) == 0o700


def test_what_a_killed_recorder_left_is_removed_by_the_next(library: Path) -> None:
    with recorder(library) as (process, copy):
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert copy.exists()
        with private_copies([library]):
            assert not folder_of(copy).exists()


def test_what_a_running_recorder_has_stays(library: Path) -> None:
    """Also one that is stopped."""
    with recorder(library) as (process, copy):
        process.send_signal(signal.SIGSTOP)
        with private_copies([library]) as own:
            assert copy.read_bytes() == b"code"
            assert folder_of(own[library]) != folder_of(copy)
        assert copy.exists()
        process.send_signal(signal.SIGCONT)
        process.communicate()
    assert not folder_of(copy).exists()


def test_a_process_that_has_the_number_of_a_killed_recorder_is_not_taken_for_it(library: Path) -> None:
    with private_copies([library]) as copies:
        own = folder_of(copies[library])
        prefix, pid, start_time, rest = own.name.rsplit("-", 3)
        other = own.with_name(f"{prefix}-{pid}-{int(start_time) - 1}-{rest}")
        other.mkdir()
        with private_copies([library]):
            assert not other.exists()
            assert own.exists()
    assert int(pid) == os.getpid()
