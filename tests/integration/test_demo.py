"""The demo's leaks are exactly those that tests/workloads/demo.c says it has."""

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "tests/data/demo.gadgetrec"
LEAKS = [(100_000, 100, "remember"), (40_960, 10, "parse_request")]


def found(answer: str) -> list[tuple[int, int, str]]:
    leaks = json.loads(answer)["leaks"]
    return [(leak["bytes"], leak["count"], leak["stack"][0]["function"]) for leak in leaks]


def test_the_recording_that_ships_with_the_project_has_the_demos_leaks(gadgetops) -> None:
    result = gadgetops("leaks", SHIPPED, "--format", "json")
    assert result.status == 0
    assert found(result.out) == LEAKS
    assert json.loads(result.out)["certainty"] == "certain"


def test_the_readme_shows_what_the_demo_prints(gadgetops) -> None:
    assert f"```text\n{gadgetops('leaks', SHIPPED).out}```" in (ROOT / "README.md").read_text()


@pytest.mark.kernel
def test_the_demo_records_and_is_exact(gadgetops) -> None:
    done = subprocess.run(
        [ROOT / "scripts/demo.sh"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "recorded 6,070 events" in done.stderr
    assert found(gadgetops("leaks", ROOT / "build/demo.gadgetrec", "--format", "json").out) == LEAKS


@pytest.mark.kernel
def test_without_the_right_to_trace_the_demo_preloads_and_is_exact(gadgetops) -> None:
    drop = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    argv = [*drop, str(ROOT / "scripts/demo.sh")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "engine preload: eBPF is not allowed here: tracing needs root" in done.stderr
    assert "recorded 6,070 events" in done.stderr
    assert found(gadgetops("leaks", ROOT / "build/demo.gadgetrec", "--format", "json").out) == LEAKS
