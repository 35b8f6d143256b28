"""Disks that are full, read-only or forbidden: a typed error, and nothing half-written."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gadgetops.errors import StorageError
from gadgetops.oci.image import EMPTY_CONFIG, Blob, PlatformContent, write_image
from gadgetops.oci.layout.archive import export_archive
from gadgetops.oci.layout.layout import Layout
from gadgetops.whole_files import write_file

NOBODY = 65534


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", path],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", path], check=True)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Act with the rights of another user, if this one is root."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def put(layout: Layout, *names: str) -> None:
    """Store a small image."""
    content = PlatformContent("amd64", EMPTY_CONFIG, [Blob(b"layer", "application/x.layer")])
    write_image(layout, [content], artifact_type="application/x", annotations={}, references=names)


def snapshot(root: Path) -> dict[str, bytes]:
    """Return every file under *root* with its content."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def fill(disk: Path) -> Path:
    """Leave no room on *disk*; return the file that takes it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler


@pytest.mark.parametrize(
    "act",
    [
        lambda layout: layout.add_blob(os.urandom(8192), "application/x"),
        lambda layout: layout.add_blob(os.urandom(1 << 20), "application/x"),
        lambda layout: put(layout, "other"),
        lambda layout: layout.tag(layout.resolve("name"), "other"),
        lambda layout: layout.remove("name", grace_s=0),
        lambda layout: Layout.open(layout.root.parent / "second", create=True),
    ],
    ids=["small blob", "large blob", "image", "tag", "remove", "new store"],
)
def test_full_disk(disk: Path, act: Callable[[Layout], object]) -> None:
    """The store is what it was before, and works again as soon as there is room."""
    layout = Layout.open(disk / "store", create=True)
    put(layout, "name")
    before = snapshot(layout.root)
    filler = fill(disk)
    with pytest.raises(StorageError) as caught:
        act(layout)
    assert caught.value.reason == "No space left on device"
    assert "free some space" in (caught.value.hint or "")
    after = snapshot(layout.root)
    assert after["index.json"] == before["index.json"]
    assert not [name for name in after if name.startswith("ingest/")]
    filler.unlink()
    put(layout, "other")
    assert set(layout.names()) == {"name", "other"}


def test_full_disk_leaves_no_half_archive(disk: Path, tmp_path: Path) -> None:
    """Neither under the file's name nor beside it; what was there before stays."""
    layout = Layout.open(tmp_path / "store", create=True)
    put(layout, "name")
    target = disk / "x.tar"
    target.write_bytes(b"before")
    filler = fill(disk)
    with pytest.raises(StorageError, match=r"x\.tar: No space left"):
        write_file(target, export_archive(layout, ["name"]), scratch=disk)
    assert sorted(disk.iterdir()) == [filler, target]
    assert target.read_bytes() == b"before"


def test_read_only_disk_can_be_read(disk: Path) -> None:
    """Everything that only reads works, the rest is a typed error, and no file changes."""
    layout = Layout.open(disk / "store", create=True)
    put(layout, "name")
    before = snapshot(layout.root)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert_readable_only(layout, "Read-only file system")
    assert snapshot(layout.root) == before


def test_folder_of_another_user_can_be_read() -> None:
    """As root's store on a shared machine: what is not forbidden works."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        layout = Layout.open(Path(folder) / "store", create=True)
        put(layout, "name")
        (layout.root / "index.json.lock").chmod(0o600)
        before = snapshot(layout.root)
        if os.geteuid() != 0:
            layout.root.chmod(0o555)
            (layout.root / "index.json.lock").chmod(0o400)
            (layout.root / "ingest").chmod(0o555)
            (layout.root / "blobs/sha256").chmod(0o555)
        with as_nobody():
            assert_readable_only(layout, "Permission denied")
        assert snapshot(layout.root) == before
        layout.root.chmod(0o755)


def assert_readable_only(layout: Layout, reason: str) -> None:
    """Check what works and what does not on a store that may only be read."""
    reader = Layout.open(layout.root, create=True)
    descriptor = reader.resolve("name")
    assert reader.fetch(descriptor)
    assert b"".join(export_archive(reader, ["name"]))
    for act in (
        lambda: reader.add_blob(b"other", "application/x"),
        lambda: reader.tag(descriptor, "other"),
        lambda: reader.remove("name"),
        reader.collect_garbage,
        lambda: put(reader, "other"),
    ):
        with pytest.raises(StorageError) as caught:
            act()
        assert caught.value.reason == reason
        assert "--store" in (caught.value.hint or "")


def test_store_that_must_not_be_entered() -> None:
    """As ig's is for everybody but root: the error names the folder."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "store"
        Layout.open(root, create=True)
        Path(folder).chmod(0o755)
        root.chmod(0o000)
        with as_nobody():
            for create in (False, True):
                with pytest.raises(StorageError, match="Permission denied") as caught:
                    Layout.open(root, create=create)
                assert str(root) in str(caught.value)
        root.chmod(0o700)
