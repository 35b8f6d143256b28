"""The time of a program beside one that is recorded, and with nothing recorded, by kind of target."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import side_by_side as bench

sys.path.append(str(bench.ROOT / "tests"))
from services.dockerd import Engine, libraries_of, running_engine

N_BLOCKS = 200_000
TIMES = 5
READY_S = 60
UNSHARE = "/usr/bin/unshare"
IMAGE, OTHER_IMAGE = "bystander-one", "bystander-two"


def main() -> None:
    """Record what does nothing: what is measured is the probes' cost to others."""
    with bench.working_folder() as folder:
        gadget, blocks = bench.built_gadget(folder), bench.compiled("blocks", folder)
        bystander = [blocks, str(folder / "truth"), str(N_BLOCKS)]
        command = bench.record_command(folder / "command.gadgetrec", gadget, "sleep", 1000)
        _show("a command, bystander on the same C library", command, bystander)
        with _sleeping() as pid:
            options = ("-o", folder / "pid.gadgetrec", "--image", gadget, "--pid", pid)
            argv = [*bench.GADGETOPS, "record", *map(str, options)]
            _show("--pid, bystander on the same C library", argv, bystander)
        with running_engine() as engine:
            _containers(engine, folder, gadget, Path(blocks))


def _containers(engine: Engine, folder: Path, gadget: Path, blocks: Path) -> None:
    files = {"/blocks": blocks, "/bin/sleep": Path("/bin/sleep"), UNSHARE: Path(UNSHARE)}
    libraries = {path: file for each in files.values() for path, file in libraries_of(each).items()}
    for image in (IMAGE, OTHER_IMAGE):
        engine.make_image(image, {**files, **libraries})
    with (
        engine.running(IMAGE, "/bin/sleep", 1000, name="idle") as idle,
        engine.running(OTHER_IMAGE, "/bin/sleep", 1000) as other,
    ):
        for beside, which in ((other, "in another image"), (idle, "on the same file, as with overlayfs")):
            recording = folder / f"{beside.name}.gadgetrec"
            options = ("-o", recording, "--image", gadget, "--container", "idle")
            argv = [*bench.GADGETOPS, "record", *map(str, options), "--docker-host", engine.address]
            _show(f"--container, bystander {which}", argv, _inside(beside))


def _inside(container: Any) -> list[str]:
    """
    Return the command that runs the bystander on the files of *container*, and does not belong to it.

    The tests' engine gives each container copies; most engines have containers of one image share files.
    """
    container.reload()
    pid = container.attrs["State"]["Pid"]
    return ["nsenter", "-t", str(pid), "-m", UNSHARE, "-m", "/blocks", "/truth", str(N_BLOCKS)]


def _show(title: str, record: list[str], bystander: list[str]) -> None:
    untraced_s = bench.seconds(bystander, TIMES)
    with _recording(record):
        beside_s = bench.seconds(bystander, TIMES)
    beside, alone = ("while recording", beside_s), ("with nothing recorded", untraced_s)
    bench.show(f"bystander: {title}", "s", beside, alone)


@contextmanager
def _sleeping() -> Iterator[int]:
    """A process that does nothing."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process.pid
        process.kill()


@contextmanager
def _recording(argv: list[str]) -> Iterator[None]:
    """The recorder, once everything is attached: then the recording is there."""
    recorder = subprocess.Popen(argv, stderr=subprocess.DEVNULL, start_new_session=True)
    recording, deadline = Path(argv[argv.index("-o") + 1]), time.monotonic() + READY_S
    try:
        while not recording.exists():
            if recorder.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("`record` ended early, or never began")
            time.sleep(0.05)
        yield
    finally:
        # The whole session: a command outlives its recording.
        os.killpg(recorder.pid, signal.SIGTERM)
        recorder.wait()


if __name__ == "__main__":
    main()
