"""Images travel in tar files, and no tar file does harm."""

import io
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gadgetops.errors import ContentError, NotFound
from gadgetops.oci.content import MEDIA_TYPE_INDEX, MEDIA_TYPE_MANIFEST, Descriptor, Index, Manifest
from gadgetops.oci.layout.archive import Archive, export_archive, import_archive
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.reference import Reference

Put = Callable[..., Descriptor]
Files = dict[str, bytes]
FOO = "ghcr.io/inspektor-gadget/gadget/foo:latest"


@pytest.fixture
def other(tmp_path: Path) -> Layout:
    """A second, empty layout to import into."""
    return Layout.open(tmp_path / "other", create=True)


def exported(layout: Layout, *references: Reference | str) -> bytes:
    """Return the archive as bytes."""
    return b"".join(export_archive(layout, references))


def files_of(archive: bytes) -> Files:
    """Return the files in a tar by name, in order."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}


def tar_of(files: Files, *, odd: tarfile.TarInfo | None = None) -> io.BytesIO:
    """Return a tar of *files*, an odd member first."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        if odd is not None:
            tar.addfile(odd, io.BytesIO(bytes(odd.size)))
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    buffer.seek(0)
    return buffer


def assert_refused(layout: Layout, archive: io.BytesIO, message: str = "x.tar") -> None:
    """Check that importing fails with a sentence that has *message*, and leaves nothing behind."""
    with pytest.raises(ContentError, match=message):
        import_archive(layout, archive, "x.tar")
    assert layout.entries() == []
    assert list((layout.root / "blobs/sha256").iterdir()) == []


def test_image_arrives_with_the_same_digest(layout: Layout, other: Layout, put: Put) -> None:
    """All its names, all its manifests."""
    image = put("v1", "foo", "bar:2")
    archive = exported(layout, Reference.parse("foo"), Reference.parse("bar:2"))
    names = import_archive(other, io.BytesIO(archive), "x.tar")
    assert names == ["ghcr.io/inspektor-gadget/gadget/bar:2", FOO]
    assert other.names() == dict.fromkeys(names, image)
    assert sorted(entry.digest for _, entry in other.entries()) == sorted(
        entry.digest for _, entry in layout.entries()
    )


def test_archive_is_plain_and_sorted(layout: Layout, put: Put) -> None:
    """Regular files, relative paths, no time, no owner."""
    put("v1", "foo")
    with tarfile.open(fileobj=io.BytesIO(exported(layout, FOO))) as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == sorted(member.name for member in members)
    assert {(m.type, m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(b"0", 0, 0, 0, "", "")}


def test_same_images_give_the_same_bytes(layout: Layout, other: Layout, put: Put) -> None:
    """Whatever order they were stored in, whatever else is in the store."""
    put("v1", "foo")
    put("v2", "bar")
    one = exported(layout, FOO, Reference.parse("bar"))
    import_archive(other, io.BytesIO(one), "x.tar")
    other.tag(other.resolve(FOO), "further")
    assert exported(other, Reference.parse("bar"), FOO) == one


def test_only_what_was_asked_for_is_exported(layout: Layout, put: Put) -> None:
    """Neither other images nor other names."""
    put("v1", "foo", "bar")
    put("v2", "other")
    files = files_of(exported(layout, FOO))
    assert b"bar" not in files["index.json"] and b"other" not in files["index.json"]
    # Index, two manifests, two layers and one config that both architectures share.
    assert len([name for name in files if name.startswith("blobs/")]) == 6


def test_signatures_travel_with_the_image(
    layout: Layout, other: Layout, put: Put, sign: Callable[..., Descriptor]
) -> None:
    """By tag and by subject; those of other images stay at home."""
    image = put("v1", "foo")
    by_tag, by_subject = sign(image), sign(image, by_subject=True)
    sign(put("v2", "other"))
    names = import_archive(other, io.BytesIO(exported(layout, FOO)), "x.tar")
    tag = f"{image.digest.replace(':', '-')}.sig"
    assert names == [FOO, tag]
    assert other.resolve(tag).digest == by_tag.digest
    assert [found.digest for found in other.referrers(image.digest)] == [by_subject.digest]


def test_digest_exports_all_its_names(layout: Layout, put: Put) -> None:
    """An image without a name travels without one."""
    image = put("v1", "foo", "bar")
    assert exported(layout, image.digest) == exported(layout, FOO, Reference.parse("bar"))
    nameless = put("v2")
    assert b"ref.name" not in files_of(exported(layout, nameless.digest))["index.json"]


def test_damaged_image_is_not_exported(layout: Layout, put: Put) -> None:
    """The error says what is missing before or while the archive is made."""
    image = put("v1", "foo")
    layout.blob_path(Index.from_bytes(layout.fetch(image)).manifests[0].digest).unlink()
    with pytest.raises(NotFound):
        exported(layout, FOO)


def test_threads_may_read_it_at_once(tmp_path: Path) -> None:
    """Though there is one file, and one place in it to read next."""
    layout = Layout.open(tmp_path / "many", create=True)
    blobs = [layout.add_blob(bytes([i]) * 3_000_000, "application/x") for i in range(8)]
    manifest = Manifest(config=blobs[0], layers=tuple(blobs))
    layout.tag(layout.add_blob(manifest.to_bytes(), MEDIA_TYPE_MANIFEST), "a.b/c:1")
    (tmp_path / "x.tar").write_bytes(exported(layout, "a.b/c:1"))
    with (tmp_path / "x.tar").open("rb") as file, ThreadPoolExecutor(len(blobs)) as pool:
        archive = Archive.open(file, "x.tar")
        sizes = pool.map(lambda blob: sum(map(len, archive.chunks(blob))), blobs)
        assert [*sizes] == [3_000_000] * 8


@pytest.mark.parametrize(
    ("name", "complete"),
    [("foo", FOO), ("foo:latest", FOO), ("a/b:1", "ghcr.io/a/b:1"), (FOO, FOO)],
)
def test_short_names_are_completed(layout: Layout, other: Layout, put: Put, name: str, complete: str) -> None:
    """Skopeo writes into an archive whatever name it was given."""
    layout.tag(put("v1"), name)
    assert import_archive(other, io.BytesIO(exported(layout, name)), "x.tar") == [complete]


def test_name_in_the_archive_may_be_replaced(layout: Layout, other: Layout, put: Put) -> None:
    """Also where there is none; but only if it is clear which image is meant."""
    image = put("v1")
    archive = exported(layout, image.digest)
    with pytest.raises(ContentError) as nameless:
        import_archive(other, io.BytesIO(archive), "x.tar")
    assert "--tag" in (nameless.value.hint or "")
    assert import_archive(other, io.BytesIO(archive), "x.tar", name=Reference.parse("foo")) == [FOO]
    second = put("v2")
    both = exported(layout, image.digest, second.digest)
    with pytest.raises(ContentError, match="holds 2 images"):
        import_archive(other, io.BytesIO(both), "x.tar", name=Reference.parse("foo"))


def test_impossible_name_is_refused(layout: Layout, other: Layout, put: Put) -> None:
    """Rather than stored under a name that no command could say."""
    layout.tag(put("v1"), "No Name")
    assert_refused(other, io.BytesIO(exported(layout, "No Name")), "white space")


def test_docker_save_names_are_understood(layout: Layout, other: Layout, put: Put) -> None:
    """There `ref.name` is a tag alone; the whole name is containerd's annotation."""
    layout.tag(put("v1"), "1.0")
    files = files_of(exported(layout, "1.0"))
    tag = b'"org.opencontainers.image.ref.name":"1.0"'
    name = b'"io.containerd.image.name":"docker.io/library/x:1.0"'
    files["index.json"] = files["index.json"].replace(tag, name + b"," + tag)
    files["manifest.json"] = b"[]"
    assert import_archive(other, tar_of(files), "x.tar") == ["docker.io/library/x:1.0"]


def test_folders_and_leading_dots_are_fine(layout: Layout, other: Layout, put: Put) -> None:
    """As `tar -c .` writes them."""
    put("v1", "foo")
    folder = tarfile.TarInfo("./blobs")
    folder.type = tarfile.DIRTYPE
    files = {f"./{name}": data for name, data in files_of(exported(layout, FOO)).items()}
    assert import_archive(other, tar_of(files, odd=folder), "x.tar") == [FOO]


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "blobs/../../x", "blobs/sha256/.."])
def test_paths_that_lead_out_are_refused(layout: Layout, other: Layout, put: Put, name: str) -> None:
    """Even where nothing would read them."""
    put("v1", "foo")
    assert_refused(other, tar_of(files_of(exported(layout, FOO)), odd=tarfile.TarInfo(name)), "leads out")


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.CONTTYPE,
        b"Z",
    ],
)
def test_members_that_are_no_files_are_refused(layout: Layout, other: Layout, put: Put, kind: bytes) -> None:
    """Links, devices, pipes and what nobody knows."""
    put("v1", "foo")
    odd = tarfile.TarInfo("odd")
    odd.type, odd.linkname = kind, "index.json"
    assert_refused(other, tar_of(files_of(exported(layout, FOO)), odd=odd), "'odd' is no regular file")


def test_file_that_is_there_twice_is_refused(layout: Layout, other: Layout, put: Put) -> None:
    """Two readers would see two archives."""
    put("v1", "foo")
    odd = tarfile.TarInfo("./index.json")
    assert_refused(other, tar_of(files_of(exported(layout, FOO)), odd=odd), "'index.json' is there twice")


@pytest.mark.parametrize("size", [1 << 20, 1 << 40, 1 << 62])
def test_sizes_beyond_the_end_are_refused(layout: Layout, other: Layout, put: Put, size: int) -> None:
    """Whatever a header promises, only what is there is read."""
    put("v1", "foo")
    header = tarfile.TarInfo("odd")
    header.size = size
    archive = header.tobuf(tarfile.GNU_FORMAT) + tar_of(files_of(exported(layout, FOO))).getvalue()
    assert_refused(other, io.BytesIO(archive))


def test_negative_size_does_not_loop(layout: Layout, other: Layout, put: Put) -> None:
    """A header whose size leads back to itself (CVE-2025-8194) ends in an error."""
    put("v1", "foo")
    header = bytearray(tarfile.TarInfo("odd").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = (-512).to_bytes(12, "big", signed=True)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    assert_refused(other, io.BytesIO(bytes(header) + exported(layout, FOO)))


@pytest.mark.parametrize(
    ("start", "tool"),
    [(b"\x1f\x8b\x08", "gzip"), (b"BZh9", "bzip2"), (b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd")],
)
def test_compressed_archive_is_named_as_such(other: Layout, start: bytes, tool: str) -> None:
    """The hint says how to go on."""
    assert_refused(other, io.BytesIO(start + bytes(1000)), f"compressed with {tool}")


@pytest.mark.parametrize("data", [b"", b"x", b"PK\x03\x04" + bytes(1000), bytes(10240)])
def test_files_that_are_no_archive(other: Layout, data: bytes) -> None:
    """Empty, too short, of another kind, without members."""
    assert_refused(other, io.BytesIO(data))


@pytest.mark.parametrize("missing", ["oci-layout", "index.json"])
def test_archive_without_layout_is_refused(layout: Layout, other: Layout, put: Put, missing: str) -> None:
    """The hint leads those who have a file of an old docker save."""
    put("v1", "foo")
    files = files_of(exported(layout, FOO))
    del files[missing]
    assert_refused(other, tar_of(files), f"{missing} is missing")


def test_every_blob_is_verified(layout: Layout, other: Layout, put: Put) -> None:
    """One other byte in any of them, or none of one, and no name is given."""
    put("v1", "foo")
    files = files_of(exported(layout, FOO))
    for name in [name for name in files if name.startswith("blobs/")]:
        changed = {**files, name: files[name][:-1] + b"\0"}
        without = {other_name: data for other_name, data in files.items() if other_name != name}
        shorter = {**files, name: files[name][:-1]}
        for damaged in (changed, without, shorter):
            assert_refused(other, tar_of(damaged), "sha256:")


def test_blobs_that_nothing_needs_are_not_stored(layout: Layout, other: Layout, put: Put) -> None:
    """An archive cannot fill the disk with what it does not name."""
    put("v1", "foo")
    extra = {"blobs/sha256/" + "0" * 64: b"extra", "README": b"text"}
    import_archive(other, tar_of({**files_of(exported(layout, FOO)), **extra}), "x.tar")
    assert not (other.root / "blobs/sha256" / ("0" * 64)).exists()


def test_index_that_claims_to_be_huge_is_not_read(other: Layout) -> None:
    """The size in a descriptor is believed before anything is fetched."""
    files = {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": b'{"manifests":[{"mediaType":"%s","digest":"sha256:%s","size":%d,'
        b'"annotations":{"org.opencontainers.image.ref.name":"x"}}]}'
        % (MEDIA_TYPE_INDEX.encode(), b"0" * 64, 1 << 40),
    }
    assert_refused(other, tar_of(files), "too many")


def test_import_twice_changes_nothing(layout: Layout, other: Layout, put: Put) -> None:
    """The second time everything is there."""
    put("v1", "foo")
    archive = exported(layout, FOO)
    import_archive(other, io.BytesIO(archive), "x.tar")
    before = (other.root / "index.json").read_bytes()
    import_archive(other, io.BytesIO(archive), "x.tar")
    entries = Layout.open(other.root).entries()
    assert len(before) == len((other.root / "index.json").read_bytes()) and len(entries) == 3
