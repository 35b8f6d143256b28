"""
What watching costs: a program of 100,000 events a second, recorded alone and watched in a terminal.

The view may take a twentieth of one processor once it is there, and nothing may be lost for it.
"""

import os
import pty
import subprocess
import sys
import threading
import time
from pathlib import Path

import side_by_side as bench

EVENTS_A_SECOND = 100_000
SECONDS = 60
START_S = 15
"""The view imports, and names what it shows."""
LIMIT = 0.05
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Record twice, once with a view in a terminal of 140 columns."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    with bench.working_folder() as folder:
        gadget, program = bench.built_gadget(folder), bench.compiled("growing", folder)
        alone = _recorded(folder / "alone", gadget, program, seconds, is_watched=False)
        watched = _recorded(folder / "watched", gadget, program, seconds, is_watched=True)
        print(f"events: alone {alone['events']:,}, watched {watched['events']:,}")
        print(f"lost:   alone {alone['lost']:,}, watched {watched['lost']:,}")
        bench.show(
            "processor time of the recorder", "s", ("watched", watched["cpu"]), ("alone", alone["cpu"])
        )
        share = watched["view"]
        print(f"the view: {100 * share:.1f} % of one processor ({100 * LIMIT:.0f} % wanted)")


def _recorded(
    recording: Path, gadget: Path, program: str, seconds: int, *, is_watched: bool
) -> dict[str, float]:
    command = bench.record_command(
        recording, gadget, program, str(seconds), str(EVENTS_A_SECOND), options="--segment-seconds 2"
    )
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as recorder:
        while not (recording / "recording.json").exists():
            time.sleep(0.01)
        share = _watched(recording, recorder) if is_watched else 0.0
        _, _, usage = os.wait4(recorder.pid, 0)
        recorder.returncode = 0
    counters = bench.counters(recording)
    return {
        "events": counters["events"],
        "lost": counters["lost"],
        "cpu": usage.ru_utime + usage.ru_stime,
        "view": share,
    }


def _watched(recording: Path, recorder: "subprocess.Popen[bytes]") -> float:
    """Watch until *recorder* ends; return which share of one processor the view took, after its start."""
    master, slave = pty.openpty()
    argv = [sys.executable, "-m", "gadgetops", "live", recording]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "140", "LINES": "40"}
    with subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=environment) as view:
        threading.Thread(target=_drain, args=(master,), daemon=True).start()
        time.sleep(START_S)
        began_s, before_s = time.monotonic(), _cpu_s(view.pid)
        after_s, ended_s = before_s, began_s
        while not _has_ended(recorder.pid):
            time.sleep(0.2)
            after_s, ended_s = _cpu_s(view.pid), time.monotonic()
        view.terminate()
    return (after_s - before_s) / (ended_s - began_s)


def _drain(master: int) -> None:
    try:
        while os.read(master, 65536):
            pass
    except OSError:
        pass


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _has_ended(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


if __name__ == "__main__":
    main()
