"""Recording from Python, on the real kernel."""

import subprocess
import sys
from pathlib import Path

import pytest

import gadgetops
from gadgetops.errors import TraceError, UsageError

pytestmark = pytest.mark.kernel

ALLOCATES = """
import ctypes, sys
malloc = ctypes.CDLL(None).malloc
malloc.restype = ctypes.c_void_p
for line in sys.stdin:
    malloc(int(line))
    print("done", flush=True)
"""


def test_a_process_is_recorded_as_long_as_the_with_lasts(gadget_object: Path, tmp_path: Path) -> None:
    """What it allocates before and afterwards is not seen."""
    options = ["--image", str(gadget_object)]
    pipe = subprocess.PIPE
    argv = [sys.executable, "-c", ALLOCATES]
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:

        def allocate(size: int) -> None:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(f"{size}\n")
            assert process.stdout.readline() == "done\n"

        allocate(70_001)
        with gadgetops.record(pid=process.pid, output=tmp_path / "r.gadgetrec", options=options) as recording:
            allocate(70_002)
        allocate(70_003)
        process.kill()
    sizes = [
        row["size_bytes"] for row in recording.sql("select size_bytes from events where size_bytes > 70000")
    ]
    assert sizes == [70_002]
    assert recording.header["end"] == "interrupted"


def test_a_command_is_recorded_to_its_end(gadget_object: Path) -> None:
    with gadgetops.record(["/bin/true"], options=["--image", str(gadget_object)]) as recording:
        pass
    assert (recording.header["end"], recording.problems) == ("complete", ())


def test_what_cannot_be_recorded_is_said_in_the_words_of_record() -> None:
    with (
        pytest.raises(TraceError, match=f"no process {2**22 - 3}") as caught,
        gadgetops.record(pid=2**22 - 3),
    ):
        pass
    assert caught.value.hint is not None
    with pytest.raises(UsageError, match="one thing"), gadgetops.record():
        pass
