"""What the kernel is said to have, beside what its history says and what it does."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from gadgetops.trace.kernel import features, perf_event, uprobe_multi
from gadgetops.trace.kernel.trial import COOKIE, Seen, Trial

pytestmark = pytest.mark.kernel

RELEASE = tuple(int(number) for number in platform.release().split("-")[0].split(".")[:2])


def test_a_feature_that_came_with_a_version_is_there_from_it_on() -> None:
    """The history of Linux is the witness. When links were limited to processes, no version says for sure."""
    found = {feature.name: feature for feature in (ask() for ask in features.FEATURES)}
    since = {
        "BTF": (5, 8),
        "uprobes": (4, 17),
        "ring buffer": (5, 8),
        "perf event links": (5, 15),
        "attach cookies of perf event links": (5, 15),
        "files by mapping": (4, 3),
    }
    assert {name: found[name].is_there for name in since} == {
        name: version <= RELEASE for name, version in since.items()
    }
    if RELEASE < (6, 6) or RELEASE >= (6, 11):
        assert found["uprobe_multi links"].is_there == (RELEASE >= (6, 11))
        assert found["attach cookies of uprobe_multi links"].is_there == (RELEASE >= (6, 11))


def test_a_program_is_loaded_for_a_link_whether_there_are_such_links_or_not() -> None:
    """So that neither the load nor an error of a request says anything; whether the link is made does."""
    with Trial(attach_type=uprobe_multi.ATTACH_TYPE) as trial:
        where = trial.program_fd, trial.path, [0]
        if RELEASE < (6, 6):
            with pytest.raises(OSError, match=r"\d"):
                uprobe_multi.create_link(*where, at_return=False, pid=0)
        else:
            link = uprobe_multi.create_link(*where, at_return=False, pid=0)
            assert trial.run() == Seen(1, 1, 0)
            os.close(link)


def test_without_a_probe_nothing_is_seen() -> None:
    with Trial() as trial:
        assert trial.run() == Seen(0, 0, 0)


@pytest.mark.skipif(RELEASE < (5, 15), reason="this kernel has no links to perf events")
def test_a_link_to_a_perf_event_brings_the_cookie() -> None:
    with Trial(with_cookie=True) as trial:
        event = perf_event.open_uprobe(trial.path, 0, pid=os.getpid())
        link = perf_event.create_link(trial.program_fd, event, cookie=COOKIE)
        assert trial.run() == Seen(1, 1, COOKIE)
        os.close(link)
        os.close(event)


def test_a_recording_says_how_probes_were_attached(gadget_object: Path, tmp_path: Path) -> None:
    """In its header, and in one line of `info`."""
    recording = tmp_path / "r"
    run("record", "-o", recording, "--image", gadget_object, "--", "true")
    attach = json.loads((recording / "recording.json").read_text())["attach"]
    way = features.attach_way()
    assert attach == {"name": way.name, "has_cookies": way.has_cookies, "how": way.how}
    assert f"attached by {way.name}, {'with' if way.has_cookies else 'without'} attach cookies" in run(
        "info", recording
    )


def run(*arguments: object) -> str:
    """What `gadgetops` says, which must succeed."""
    line = [sys.executable, "-m", "gadgetops", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout
