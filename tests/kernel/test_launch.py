"""How a command is started: as without us, whatever it is, or not at all, with a shell's status."""

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from services.patience import PATIENCE

pytestmark = pytest.mark.kernel
TIMEOUT_S = 60 * PATIENCE

# Makes as many blocks as its argument says, of a size that nobody else asks for; keeps them.
KEEP = """
#include <stdlib.h>
#include <unistd.h>
int used(void);
static void *volatile kept;
int main(int argc, char **argv)
{
	for (int i = 0; i < atoi(argv[1]); i++)
		kept = malloc(6543);
	return geteuid() == 65534 ? 65 : 4;
}
"""
# exit(3) by the 32-bit system call: no C library is needed to build it.
EXIT_32 = ".globl _start\n_start: movl $1, %eax\nmovl $3, %ebx\nint $0x80\n"


@pytest.fixture(scope="session")
def keep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program above, which finds a library beside it by $ORIGIN."""
    folder = tmp_path_factory.mktemp("keep")
    (folder / "keep.c").write_text(KEEP)
    (folder / "x.c").write_text("int used(void) { return 1; }\n")
    (folder / "bin").mkdir()
    library = folder / "libx.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, folder / "x.c"], check=True)
    flags = ["-g", "-O1", "-fno-builtin", "-Wl,--no-as-needed", "-Wl,-rpath,$ORIGIN/.."]
    command = ["gcc", *flags, "-o", folder / "bin/keep", folder / "keep.c", "-L", folder, "-lx"]
    subprocess.run(command, check=True)
    return folder


@pytest.fixture
def record(gadget_object: Path, tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Record a command into r.gadgetrec."""

    def run(*command: object, **options: Any) -> "subprocess.CompletedProcess[str]":
        own = ["record", "-o", tmp_path / "r.gadgetrec", "--image", gadget_object, "--"]
        argv = [sys.executable, "-m", "gadgetops", *own, *command]
        return subprocess.run(
            [*map(os.fspath, argv)], capture_output=True, text=True, check=False, timeout=TIMEOUT_S, **options
        )

    return run


def kept(folder: Path) -> int:
    """Return how many blocks of the program were recorded."""
    events = f"read_parquet('{folder}/r.gadgetrec/events-*.parquet')"
    [(number,)] = duckdb.sql(f"select count(*) from {events} where size_bytes = 6543").fetchall()
    return int(number)


def target(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "r.gadgetrec/recording.json").read_text())["target"]
    return found


@pytest.mark.parametrize("name", ["a b", "a\u2028b", "a\nb", "a (deleted)", "a\\012b"])
def test_a_program_in_a_folder_of_any_name_is_recorded_by_a_link(
    record: Callable[..., Any], keep: Path, tmp_path: Path, name: str
) -> None:
    """With a library that lies relative to the file behind the link."""
    shutil.copytree(keep, tmp_path / name)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / name / "bin/keep")
    done = record(link, "7")
    assert (done.returncode, kept(tmp_path)) == (4, 7), done.stderr
    assert target(tmp_path)["n_not_covered"] == 0


@pytest.mark.parametrize(
    "first_line",
    ["#!/usr/bin/env -S sh -e\n", "#!\n", "", "#! /bin/sh \n", "#!/bin/sh"],
)
def test_a_script_runs_as_without_us(record: Callable[..., Any], tmp_path: Path, first_line: str) -> None:
    """Its name, as it was typed, and its arguments among the rest; env(1) starts it for comparison."""
    script = tmp_path / "script"
    script.write_text(first_line if first_line == "#!/bin/sh" else f'{first_line}echo "$0" "$@"\nexit 6\n')
    script.chmod(0o755)
    bare = subprocess.run(
        ["env", "./script", "a", "b c"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    done = record("./script", "a", "b c", cwd=tmp_path)
    assert (done.stdout, done.returncode) == (bare.stdout, bare.returncode), done.stderr


def test_a_signal_that_python_ignores_is_not_ignored_by_the_command(record: Callable[..., Any]) -> None:
    """Else a pipe's writer would not end with its reader."""
    done = record("sh", "-c", "grep SigIgn /proc/self/status")
    bare = subprocess.run(["grep", "SigIgn", "/proc/self/status"], capture_output=True, text=True, check=True)
    assert done.stdout == bare.stdout, done.stderr


@pytest.mark.parametrize(
    ("content", "mode", "status", "words"),
    [
        ("#!/no/such\n", 0o755, 127, "names the interpreter '/no/such', which does not exist"),
        ("#!/bin/sh\r\n", 0o755, 127, r"'/bin/sh\r', which does not exist"),
        ("#!/bin/sh\n", 0o644, 126, "its mode does not let it be executed"),
        ("\0\0\0", 0o755, 126, "exec format error"),
        (None, 0, 127, "no such program"),
    ],
)
def test_what_cannot_be_executed_is_said_and_leaves_nothing(
    record: Callable[..., Any], tmp_path: Path, content: str | None, mode: int, status: int, words: str
) -> None:
    """One sentence, a way out, a shell's status."""
    program = tmp_path / "program"
    if content is not None:
        program.write_text(content)
        program.chmod(mode)
    done = record(program)
    assert done.returncode == status
    assert done.stderr.startswith("gadgetops: error: ")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert not (tmp_path / "r.gadgetrec").exists()


def test_a_program_without_an_allocator_runs_and_is_said_to_be_unseen(
    record: Callable[..., Any], keep: Path, tmp_path: Path
) -> None:
    """A static program without symbols, as many in Go; what it is started by is recorded."""
    source = KEEP.replace("int used(void);\n", "")
    (tmp_path / "keep.c").write_text(source)
    command = ["gcc", "-static", "-s", "-o", tmp_path / "keep", tmp_path / "keep.c"]
    subprocess.run(command, check=True)
    done = record(tmp_path / "keep", "5")
    assert done.returncode == 4, done.stderr
    assert "nothing of what this program allocates can be seen" in done.stderr
    assert "no malloc in" in target(tmp_path)["unseen"]


def test_a_32_bit_program_runs_and_is_said_to_be_unseen(record: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "exit.s").write_text(EXIT_32)
    subprocess.run(["as", "--32", "-o", tmp_path / "exit.o", tmp_path / "exit.s"], check=True)
    subprocess.run(["ld", "-m", "elf_i386", "-o", tmp_path / "exit", tmp_path / "exit.o"], check=True)
    bare = subprocess.run([tmp_path / "exit"], check=False).returncode
    done = record(tmp_path / "exit")
    # Some kernels execute no 32-bit programs.
    assert (done.returncode == bare) == (bare == 3), done.stderr
    if bare == 3:
        assert target(tmp_path)["unseen"].endswith("a 32-bit program")


def test_a_program_whose_library_is_missing_fails_by_itself(
    record: Callable[..., Any], keep: Path, tmp_path: Path
) -> None:
    """With its dynamic linker's words and status."""
    shutil.copytree(keep / "bin", tmp_path / "bin")
    bare = subprocess.run([tmp_path / "bin/keep", "1"], capture_output=True, text=True, check=False)
    done = record(tmp_path / "bin/keep", "1")
    assert (done.returncode, bare.returncode) == (127, 127)
    assert bare.stderr in done.stderr


def test_a_set_user_id_program_with_an_allocator_of_its_own_keeps_its_rights(
    record: Callable[..., Any], tmp_path: Path
) -> None:
    """Its file is copied to be probed."""
    (tmp_path / "keep.c").write_text(KEEP.replace("int used(void);\n", ""))
    program = Path("/var/tmp") / f"gadgetops-test-{os.getpid()}"
    subprocess.run(["gcc", "-static", "-g", "-fno-builtin", "-o", program, tmp_path / "keep.c"], check=True)
    try:
        os.chown(program, 65534, 65534)
        program.chmod(stat.S_ISUID | 0o755)
        bare = subprocess.run([program, "3"], check=False).returncode
        done = record(program, "3")
        assert (done.returncode, kept(tmp_path)) == (bare, 3), done.stderr
    finally:
        program.unlink()


def test_preloaded_libraries_are_the_commands_alone(record: Callable[..., Any]) -> None:
    """The recorder reads the library, but does not run it: it may be a sanitizer's."""
    library = subprocess.check_output(["gcc", "-print-file-name=libjemalloc.so.2"], text=True).strip()
    script = (
        "grep -c 'xp .*jemalloc' /proc/$PPID/maps; grep -q jemalloc /proc/self/maps && env | grep LD_PRELOAD"
    )
    done = record("sh", "-c", script, env=os.environ | {"LD_PRELOAD": library})
    assert done.stdout.splitlines() == ["0", f"LD_PRELOAD={library}"], done.stderr
