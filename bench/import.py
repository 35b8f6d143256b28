"""
Events a second of CPU that `import` takes in, from a file and from a pipe, beside Python's own json module.

The lines are those that ig 0.48 printed, with other numbers: malloc and free of eight threads, without stacks
(about 840 bytes each) and with 2,000 different ones of eight frames (about 1,050). Then fewer of them, from a
file, with their members in another order, indented, and as YAML.
"""

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import side_by_side as bench

N_EVENTS = 1_000_000
N_OTHER_EVENTS = 200_000
N_THREADS = 8
N_STACKS = 2000
N_FRAMES = 8
SEED = 1
SAMPLE = bench.ROOT / "tests/data/ig-output/v0.48.json"
BASELINE = """
import json, sys
addresses, sizes, times, operations, threads = [], [], [], [], []
with open(sys.argv[1], "rb") as lines:
    for line in lines:
        event = json.loads(line)
        addresses.append(event["addr"])
        sizes.append(event["size"])
        times.append(event["timestamp_raw"])
        operations.append(event["operation"])
        threads.append(event["proc"]["tid"])
"""


def main() -> None:
    """Import a million events from a file and from a pipe, and decode them with the json module."""
    with bench.working_folder() as folder:
        for title, n_frames in (("no stacks", 0), (f"{N_FRAMES} frames", N_FRAMES)):
            lines = folder / "events.json"
            write_lines(lines, n_frames)
            compare(folder, lines, title)
        for title, print_event in OTHER_FORMS.items():
            compare_form(folder, lines, title, print_event)


def compare(folder: Path, lines: Path, title: str) -> None:
    """Print the figures of one file, read as such and from a pipe."""
    json_module, _ = measured([sys.executable, "-c", BASELINE, str(lines)])
    for source, standard_input in ((str(lines), None), ("-", lines)):
        recording = folder / "import.gadgetrec"
        command = [*bench.GADGETOPS, "import", source, "-q", "-o", str(recording)]
        rate, megabytes = measured(command, standard_input)
        assert bench.counters(recording)["events"] == N_EVENTS
        shutil.rmtree(recording)
        name = f"import from a {'file' if standard_input is None else 'pipe'}, {title}"
        bench.show(name, "events a second of CPU", ("gadgetops import", rate), ("json module", json_module))
        print(f"  {'peak memory':<44} {megabytes:>14,.0f} MB")


def compare_form(folder: Path, lines: Path, title: str, print_event: Callable[[dict[str, Any]], str]) -> None:
    """Print the figures of the first of *lines* in another form, and those of the same lines as they are."""
    plain, other, recording = folder / "plain.json", folder / "other", folder / "import.gadgetrec"
    with lines.open() as source, plain.open("w") as same, other.open("w") as stream:
        for line in itertools.islice(source, N_OTHER_EVENTS):
            same.write(line)
            stream.write(print_event(json.loads(line)))
    rates = []
    for path in (other, plain):
        command = [*bench.GADGETOPS, "import", str(path), "-q", "-o", str(recording)]
        rates.append(measured(command, n_events=N_OTHER_EVENTS)[0])
        assert bench.counters(recording)["events"] == N_OTHER_EVENTS
        shutil.rmtree(recording)
    unit = "events a second of CPU"
    bench.show(f"import from a file, {title}", unit, (title, rates[0]), ("lines as ig prints them", rates[1]))


def as_yaml(value: dict[str, Any], indent: str = "") -> str:
    """Return the lines of a mapping; a scalar of JSON is one of YAML."""
    return "".join(
        f"{indent}{name}:\n{as_yaml(each, indent + '  ')}"
        if isinstance(each, dict)
        else f"{indent}{name}: {json.dumps(each)}\n"
        for name, each in value.items()
    )


OTHER_FORMS: dict[str, Callable[[dict[str, Any]], str]] = {
    "members in another order": lambda event: json.dumps(dict(reversed(event.items()))) + "\n",
    "jsonpretty": lambda event: json.dumps(event, indent=2) + "\n",
    "yaml": lambda event: "---\n" + as_yaml(event),
}


def write_lines(path: Path, n_frames: int) -> None:
    """Write the events, each address allocated and released in turn."""
    random.seed(SEED)
    template = SAMPLE.read_text().partition("\n")[0]
    stacks = [stack(number, n_frames) for number in range(N_STACKS)]
    with path.open("w") as stream:
        for number in range(N_EVENTS):
            stream.write(line(template, number, random.choice(stacks)))


def stack(number: int, n_frames: int) -> dict[str, object]:
    """Return the fields of a stack; none without frames."""
    if not n_frames:
        return {}
    frames = [0x55D1C674D000 + number * 64 + frame * 0x1000 for frame in range(n_frames)]
    addresses = "".join(f"[{place}]{address:#018x}; " for place, address in enumerate(frames))
    return {"addresses": addresses, "inode": 10018866, "stack_id": number}


def line(template: str, number: int, fields: dict[str, object]) -> str:
    """Return one line."""
    event = json.loads(template)
    is_free = number % 2
    event["addr"] = 94688668512928 + 16 * (number // 2)
    event["size"] = 0 if is_free else random.randrange(1, 1000)
    event["operation"], event["operation_raw"] = ("free", 1) if is_free else ("malloc", 0)
    event["proc"]["tid"] += number // 2 % N_THREADS
    event["timestamp_raw"] += number * 1000
    event["ustack"].update(fields)
    return json.dumps(event, separators=(",", ":")) + "\n"


def measured(
    command: Sequence[str], standard_input: Path | None = None, n_events: int = N_EVENTS
) -> tuple[float, float]:
    """Return events a second of CPU time and the peak memory in megabytes of *command*."""
    source = None
    if standard_input is not None:
        source = subprocess.Popen(["cat", str(standard_input)], stdout=subprocess.PIPE)
    started = subprocess.Popen(command, stdin=source.stdout if source else subprocess.DEVNULL)
    _, status, usage = os.wait4(started.pid, 0)
    started.returncode = os.waitstatus_to_exitcode(status)
    if source is not None:
        source.wait()
    if started.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit status {started.returncode}")
    return n_events / (usage.ru_utime + usage.ru_stime), usage.ru_maxrss / 1000


if __name__ == "__main__":
    main()
