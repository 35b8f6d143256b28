"""The genuine `ig run` with our image, beside our own engine: what both recorded of one program."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest
from services.gadget_build import OBJECT_OF_MACHINE, ROOT
from services.ig import OWN_STORE
from services.patience import PATIENCE

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.ig,
    pytest.mark.skipif(
        not Path("/sys/bus/event_source/devices/kprobe").exists(),
        reason="this kernel has no kprobes, by which ig attaches uprobes",
    ),
]
IMAGES = {"trace_malloc": "build.yaml", "trace_malloc_ustack": "build-ustack.yaml"}
GADGETOPS = [sys.executable, "-m", "gadgetops"]
START_TIMEOUT_S = 30 * PATIENCE
ANSWER_TIMEOUT_S = 10 * PATIENCE
REST_OF_ATTACHING_S = 5
"""How long after the first event ig may still be attaching programs."""
BUILD_IDS = ["--param", "collect-build-id=true"]
N_BLOCKS, BLOCK_BYTES, OTHER_BYTES = 100, 3011, 17
N_EVENTS = N_BLOCKS + N_BLOCKS // 2

Process = subprocess.Popen[str]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is to be ig's folder, with our images in it."""
    place = tmp_path_factory.mktemp("ig")
    environment = os.environ | {"GADGETOPS_STORE": str(place / "oci-store"), "HOME": str(place)}
    # Under an emulated processor clang takes a minute.
    architecture = OBJECT_OF_MACHINE[os.uname().machine].partition(".")[0]
    for image, build_file in IMAGES.items():
        build = [*GADGETOPS, "build", str(ROOT), "-f", str(ROOT / build_file), "-t", image]
        build += ["--arch", architecture]
        subprocess.run(build, check=True, env=environment)
    return place


@contextlib.contextmanager
def program(path: Path) -> Iterator[Process]:
    """The program, which waits for orders; `order` gives them."""
    pipe = subprocess.PIPE
    with subprocess.Popen([path], stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:
        try:
            yield process
        finally:
            process.kill()


def order(process: Process, count: int, size_bytes: int) -> None:
    """Have it allocate blocks and release half of them."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{count} {size_bytes}\n")
    process.stdin.flush()
    # Never more than one line waits: nothing of it can be in Python's own buffer.
    ready, _, _ = select.select([process.stdout], [], [], ANSWER_TIMEOUT_S)
    assert ready, f"no answer; the program is {state_of(process.pid)}"
    assert process.stdout.readline() == "done\n"


def state_of(pid: int) -> str:
    """What the kernel says a process does."""
    facts = {}
    for name in ("stat", "wchan", "syscall", "stack"):
        with contextlib.suppress(OSError):
            facts[name] = Path(f"/proc/{pid}/{name}").read_text()
    return str(facts)


@contextlib.contextmanager
def recorded(recorder: list[object], recording: Path, process: Process) -> Iterator[None]:
    """Record for the length of the block, which begins when events come."""
    log = recording.with_suffix(".log")
    with (
        log.open("w") as stream,
        subprocess.Popen([*map(str, recorder)], stderr=stream, start_new_session=True) as running,
    ):
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while not (recording / "recording.json").exists():
                assert running.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                order(process, 1, OTHER_BYTES)
                time.sleep(0.1)
            time.sleep(REST_OF_ATTACHING_S)
            yield
            running.send_signal(signal.SIGINT)
            assert running.wait(START_TIMEOUT_S) == 0, log.read_text()
        finally:
            # Whatever failed: a recorder that nobody stops would be waited for without an end.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)


def counts(recording: Path) -> dict[str, int]:
    """Events of the blocks that were ordered, by operation: of their sizes, and of their addresses."""
    events = f"read_parquet('{recording}/events-*.parquet')"
    rows = duckdb.sql(
        f"SELECT operation, count(*) FROM {events} WHERE size_bytes = {BLOCK_BYTES} OR address IN"
        f" (SELECT address FROM {events} WHERE size_bytes = {BLOCK_BYTES}) AND operation = 'free'"
        " GROUP BY operation"
    ).fetchall()
    return dict(rows)


def wait_until_written(recording: Path) -> None:
    """Wait for the events of the blocks that were ordered: what ig has not printed is gone when it ends."""
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    while time.monotonic() < deadline:
        if [*recording.glob("events-*.parquet")] and sum(counts(recording).values()) >= N_EVENTS:
            return
        time.sleep(0.5)


def has_stacks(recording: Path) -> bool:
    """Whether every allocation of a block that was ordered has a stack."""
    events = f"read_parquet('{recording}/events-*.parquet')"
    rows = duckdb.sql(f"SELECT bool_and(stack_id >= 0) FROM {events} WHERE size_bytes = {BLOCK_BYTES}")
    return bool(rows.fetchall()[0][0])


@pytest.mark.parametrize(
    ("image", "stacks"),
    [("trace_malloc", ["--no-stacks"]), ("trace_malloc_ustack", BUILD_IDS)],
    ids=["alone", "with stacks and build IDs"],
)
def test_ig_run_sees_what_our_engine_sees(
    image: str,
    stacks: list[str],
    store: Path,
    gadget_object: Path,
    compiled: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """One program, first under `ig run`, then under our own engine: every call, and no other."""
    by_ig, by_us = tmp_path / "ig.gadgetrec", tmp_path / "us.gadgetrec"
    own_store = ["unshare", "--mount", "sh", "-c", OWN_STORE.replace("exec ig", "exec"), store]
    record = [*GADGETOPS, "record", "-o"]
    with program(compiled("on_demand")) as process:
        pid = ["--pid", process.pid]
        engine = ["--engine", "ig", "--image", image, "--param", "verify-image=false", *stacks]
        with recorded([*own_store, *record, by_ig, *engine, *pid], by_ig, process):
            order(process, N_BLOCKS, BLOCK_BYTES)
            wait_until_written(by_ig)
        with recorded([*record, by_us, "--image", gadget_object, *pid], by_us, process):
            order(process, N_BLOCKS, BLOCK_BYTES)
        process.stdin.close()
    assert has_stacks(by_ig) == ("--no-stacks" not in stacks)
    assert counts(by_ig) == counts(by_us) == {"malloc": N_BLOCKS, "free": N_BLOCKS // 2}
