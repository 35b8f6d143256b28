"""What cannot be recorded is refused in two lines, with the way out, and nothing of the attempt is left."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from services.patience import PATIENCE

from gadgetops.trace.address_spaces import ModuleTracker
from gadgetops.trace.targets import base
from gadgetops.trace.targets.newcomers import Newcomers

pytestmark = pytest.mark.kernel
TIMEOUT_S = 60 * PATIENCE
GADGETOPS = [sys.executable, "-m", "gadgetops"]
KERNEL_THREAD = 2
SLEEPS_IN_32_BITS = """
.globl _start
_start:
	mov $162, %eax
	mov $time, %ebx
	xor %ecx, %ecx
	int $0x80
	mov $1, %eax
	mov $7, %ebx
	int $0x80
.data
time:	.long 600, 0
"""


class Refusal(NamedTuple):
    """How `record` ended, and what it said: what is wrong, and the way out."""

    status: int
    problem: str
    hint: str


def left_behind() -> set[str]:
    """What recorders that have ended made on the way: private mounts of libraries, copies of them."""
    found = Path("/tmp").glob("gadgetops-libraries-*")
    copies = {str(path) for path in found if not Path("/proc", path.name.split("-")[2]).exists()}
    mounts = {line for line in Path("/proc/self/mounts").read_text().splitlines() if "gadgetops" in line}
    return copies | mounts


def refusal(folder: Path, line: list[object], *, shell: str = "") -> Refusal:
    """Run a command line that is refused: no recording, nothing left behind."""
    before = left_behind()
    whole = ["bash", "-c", shell, "bash", *line] if shell else line
    done = subprocess.run(
        [*map(str, whole)], capture_output=True, text=True, check=False, timeout=TIMEOUT_S, cwd=folder
    )
    assert not {*folder.glob("*.gadgetrec")}
    assert left_behind() <= before
    lines = done.stderr.splitlines()
    assert len(lines) == 2, done.stderr
    return Refusal(done.returncode, lines[0].removeprefix("gadgetops: error: "), lines[1])


@pytest.fixture
def record(gadget_object: Path, tmp_path: Path) -> list[object]:
    """The command line up to what is recorded."""
    return [*GADGETOPS, "record", "-o", tmp_path / "r.gadgetrec", "--image", gadget_object]


@pytest.fixture
def program() -> Iterator[subprocess.Popen[bytes]]:
    """A program that sleeps."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def test_a_thread_of_the_kernel(record: list[object], tmp_path: Path) -> None:
    """It has no memory of its own."""
    stat = Path(f"/proc/{KERNEL_THREAD}/stat")
    if not stat.exists():
        pytest.skip("this kernel's threads are not in this pid namespace")
    found = refusal(tmp_path, [*record, "--pid", KERNEL_THREAD])
    assert found.status == 1
    assert (
        found.problem
        == f"process {KERNEL_THREAD} (kthreadd) is a thread of the kernel: it calls no allocator"
    )
    assert "`ps`" in found.hint


def test_the_recorder_itself(record: list[object], tmp_path: Path) -> None:
    """Whose events would make further ones, without an end."""
    found = refusal(tmp_path, [*record, "--pid"], shell='exec "$@" $$')
    assert found.status == 1
    assert "is this recorder: each event would make further ones" in found.problem


def test_the_recorder_is_no_child_of_its_shell(record: list[object], tmp_path: Path) -> None:
    """`--pid $$` in a shell takes what the shell starts, but for the recorder and its helpers."""
    script = 'echo $$; "$@" --quiet --duration 1 --pid $$; echo $?'
    line = ["bash", "-c", script, "bash", *map(str, record)]
    done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    _, status = map(int, done.stdout.split())
    assert status == 0, done.stderr
    [header] = [*tmp_path.glob("r.gadgetrec/recording.json")]
    assert '"descendants": []' in header.read_text()


def test_a_process_that_has_ended(record: list[object], tmp_path: Path) -> None:
    """Its parent has not asked for its status."""
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        found = refusal(tmp_path, [*record, "--pid", process.pid])
    assert found.status == 1
    assert found.problem == f"process {process.pid} (true) has ended"
    assert f"process {os.getpid()}" in found.hint


def test_a_process_that_is_not_there(record: list[object], tmp_path: Path) -> None:
    found = refusal(tmp_path, [*record, "--pid", 2**22 - 3])
    assert (found.status, found.problem) == (1, f"no process {2**22 - 3}")


def test_a_process_without_rights_to_look_into_it(record: list[object], tmp_path: Path) -> None:
    """As in a container that was not given them; one of another user."""
    within = ["setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace", "--"]
    waits = ["setpriv", "--reuid", "65534", "sh", "-c", "echo begun; read line"]
    pipe = subprocess.PIPE
    with subprocess.Popen(waits, stdin=pipe, stdout=pipe, text=True) as stranger:
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == "begun\n"
        found = refusal(tmp_path, [*within, *record, "--pid", stranger.pid])
        stranger.kill()
    assert found.status == 1
    assert found.problem == f"process {stranger.pid} cannot be looked into: Permission denied"
    assert "CAP_SYS_PTRACE" in found.hint


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="assembles code of x86")
def test_a_32_bit_process(record: list[object], tmp_path: Path) -> None:
    (tmp_path / "p.s").write_text(SLEEPS_IN_32_BITS)
    subprocess.run(["as", "--32", "p.s", "-o", "p.o"], check=True, cwd=tmp_path)
    subprocess.run(["ld", "-m", "elf_i386", "p.o", "-o", "narrow"], check=True, cwd=tmp_path)
    with subprocess.Popen([tmp_path / "narrow"]) as process:
        found = refusal(tmp_path, [*record, "--pid", process.pid])
        assert process.poll() is None
        process.kill()
    assert found.status == 1
    assert found.problem == (
        f"process {process.pid} (narrow) is a 32-bit program: only 64-bit ones can be recorded"
    )


STAGES = {
    "before its allocator is looked for": (base, "allocators_of_process"),
    "before it is attached to": (base.ProcessTarget, "attach"),
    "before a file of it is attached to": (Newcomers, "add"),
    "before it is followed": (ModuleTracker, "follow"),
    "before its children are looked for": (base, "descendants_of"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_process_that_ends_while_it_is_attached_to(
    stage: str,
    gadget_object: Path,
    program: subprocess.Popen[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gadgetops: Callable[..., Any],
) -> None:
    """At whatever moment: it is said to have ended, or what was recorded of it is a recording."""
    before = left_behind()
    owner, name = STAGES[stage]
    original = getattr(owner, name)

    def after_its_end(*arguments: object, **options: object) -> object:
        program.kill()
        program.wait()
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, after_its_end)
    arguments = ["-q", "-o", tmp_path / "r.gadgetrec", "--image", gadget_object, "--pid", program.pid]
    done = gadgetops("record", *arguments)
    assert program.returncode is not None
    assert left_behind() <= before
    if done.status == 0:
        assert gadgetops("info", tmp_path / "r.gadgetrec").status == 0
    else:
        assert not (tmp_path / "r.gadgetrec").exists()
        assert str(program.pid) in done.err.splitlines()[0], done.err
        assert ("has ended" in done.err) or ("no process" in done.err)
    assert "Traceback" not in done.err
