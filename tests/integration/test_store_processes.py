"""Many processes on one store at once, and processes that die in the middle."""

import json
import multiprocessing
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gadgetops.errors import GadgetOpsError
from gadgetops.oci.content import Descriptor
from gadgetops.oci.image import EMPTY_CONFIG, Blob, PlatformContent, write_image
from gadgetops.oci.layout.layout import Layout

FORK = multiprocessing.get_context("fork")


def write(layout: Layout, text: str, *names: str) -> Descriptor:
    """Store an image whose layer is *text*."""
    content = PlatformContent("amd64", EMPTY_CONFIG, [Blob(text.encode(), "application/x.layer")])
    return write_image(
        layout, [content], artifact_type="application/x", annotations={"text": text}, references=names
    )


def run_all(tasks: list[Callable[[], object]]) -> None:
    """Run each task in a process of its own, all at once, and check that none failed."""
    processes = [FORK.Process(target=task) for task in tasks]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def assert_whole(layout: Layout) -> None:
    """Check that every name stands for something of which every byte is there."""
    for name, descriptor in layout.names().items():
        layout.tag(descriptor, name)


@pytest.fixture
def store(tmp_path: Path) -> Layout:
    """An empty store."""
    return Layout.open(tmp_path / "store", create=True)


def test_a_hundred_processes_tag_at_once_and_no_name_is_lost(store: Layout) -> None:
    """Every one of the hundred names is there afterwards."""
    descriptor = write(store, "text")
    run_all([lambda name=f"name-{i}": store.tag(descriptor, name) for i in range(100)])
    assert store.names() == dict.fromkeys(sorted(f"name-{i}" for i in range(100)), descriptor)


def test_processes_make_the_store_together(tmp_path: Path) -> None:
    """Whoever comes second does not empty what the first has listed."""
    root = tmp_path / "new"
    run_all([lambda i=i: write(Layout.open(root, create=True), str(i), f"name-{i}") for i in range(30)])
    assert len(Layout.open(root).names()) == 30
    assert_whole(Layout.open(root))


def test_writers_removers_and_readers_do_not_disturb_each_other(store: Layout) -> None:
    """While names come and go, nobody sees half an index.json, and what is named is whole."""

    def come_and_go(i: int) -> None:
        for turn in range(5):
            # Two writers share each text, so that one removes what the other needs.
            write(store, f"text-{i // 2}-{turn}", f"name-{i}")
            store.remove(f"name-{i}")
        write(store, f"text-{i // 2}", f"name-{i}")

    def read() -> None:
        for _ in range(20):
            for descriptor in Layout.open(store.root).names().values():
                store.fetch(descriptor)

    run_all([*(lambda i=i: come_and_go(i) for i in range(12)), *(read for _ in range(4))])
    assert sorted(store.names()) == sorted(f"name-{i}" for i in range(12))
    assert_whole(store)


ENDLESS_WRITER = """
import itertools, sys
from pathlib import Path
from gadgetops.oci.image import EMPTY_CONFIG, Blob, PlatformContent, write_image
from gadgetops.oci.layout.layout import Layout
layout = Layout.open(Path(sys.argv[1]), create=True)
print("ready", flush=True)
for i in itertools.count():
    content = PlatformContent("amd64", EMPTY_CONFIG, [Blob(str(i).encode() * 1000, "application/x.layer")])
    name = f"name-{i % 7}"
    write_image(layout, [content], artifact_type="application/x", annotations={}, references=[name])
    if i % 3 == 0:
        layout.remove(name, grace_s=0)
"""


def test_killed_writers_leave_a_valid_store(tmp_path: Path) -> None:
    """Killed at twenty random moments: every name is whole, and the next writer goes on."""
    root = tmp_path / "store"
    moments = random.Random(3)
    for _ in range(20):
        with subprocess.Popen(
            [sys.executable, "-c", ENDLESS_WRITER, str(root)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            time.sleep(moments.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
        layout = Layout.open(root)
        json.loads((root / "index.json").read_bytes())
        assert_whole(layout)
    layout.collect_garbage(grace_s=0)
    assert list((root / "ingest").iterdir()) == []
    assert_whole(layout)


def test_writer_waits_for_the_lock(store: Layout) -> None:
    """The lock is flock(2) on index.json.lock, as ig takes it."""
    descriptor = write(store, "text")
    with subprocess.Popen(["flock", store.root / "index.json.lock", "sleep", "0.5"]) as holder:
        while (
            subprocess.run(["flock", "-n", store.root / "index.json.lock", "true"], check=False).returncode
            == 0
        ):
            time.sleep(0.01)
        store.tag(descriptor, "name")
        assert holder.wait(5) == 0 and "name" in store.names()


def test_removal_between_check_and_name_is_noticed(store: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content that another process removes at the worst moment gets no name."""
    descriptor = write(store, "text", "first")
    original = Layout._locked_index

    def late(layout: Layout):
        monkeypatch.setattr(Layout, "_locked_index", original)
        layout.remove("first", grace_s=0)
        return original(layout)

    monkeypatch.setattr(Layout, "_locked_index", late)
    with pytest.raises(GadgetOpsError, match="not found"):
        store.tag(descriptor, "second")
    assert store.names() == {}
