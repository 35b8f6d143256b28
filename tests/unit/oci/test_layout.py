"""A layout holds content by digest and gives names to what is whole."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gadgetops.errors import ContentError, DigestMismatch, NotFound, SizeMismatch, StorageError
from gadgetops.oci.content import MEDIA_TYPE_INDEX, MEDIA_TYPE_MANIFEST, Descriptor, Index, digest_of
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.reference import Reference

Put = Callable[..., Descriptor]
FOO = "ghcr.io/inspektor-gadget/gadget/foo:latest"


def blobs(layout: Layout) -> set[str]:
    """Return the digests of the blobs on disk."""
    return {f"sha256:{path.name}" for path in (layout.root / "blobs/sha256").iterdir()}


def files_in(folder: Path) -> list[str]:
    """Return the names in *folder*, sorted."""
    return sorted(path.name for path in folder.iterdir())


def index_json(layout: Layout) -> dict:
    """Return index.json as it stands on disk."""
    return json.loads((layout.root / "index.json").read_bytes())


class TestFolder:
    """What makes a folder a layout."""

    def test_new_layout_is_what_ig_makes(self, tmp_path: Path) -> None:
        """Version file, empty index, folders; opening it again changes nothing."""
        root = tmp_path / "a/b"
        Layout.open(root, create=True)
        assert (root / "oci-layout").read_bytes() == b'{"imageLayoutVersion":"1.0.0"}'
        assert (root / "index.json").read_bytes() == (
            b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
        )
        before = (root / "index.json").stat().st_mtime_ns
        Layout.open(root, create=True)
        assert (root / "index.json").stat().st_mtime_ns == before

    def test_missing_layout_is_not_found(self, tmp_path: Path) -> None:
        """Reading does not make one."""
        with pytest.raises(NotFound):
            Layout.open(tmp_path / "none")
        assert not (tmp_path / "none").exists()

    def test_folder_of_other_things_is_left_alone(self, tmp_path: Path) -> None:
        """A mistyped path does not turn somebody's folder into a store."""
        (tmp_path / "thesis.tex").touch()
        with pytest.raises(StorageError, match=r"thesis\.tex"):
            Layout.open(tmp_path, create=True)
        assert files_in(tmp_path) == ["thesis.tex"]

    @pytest.mark.parametrize("left", [[], ["ingest"], ["blobs", "index.json.lock", "index.json"]])
    def test_layout_whose_making_was_interrupted_is_completed(self, tmp_path: Path, left: list[str]) -> None:
        """Whatever a killed process left of a new layout, the next makes the rest."""
        Layout.open(tmp_path / "whole", create=True)
        (tmp_path / "half").mkdir()
        for name in left:
            (tmp_path / "whole" / name).rename(tmp_path / "half" / name)
        assert Layout.open(tmp_path / "half", create=True).names() == {}

    def test_file_is_no_folder(self, tmp_path: Path) -> None:
        """A file where the folder should be is named."""
        path = tmp_path / "file"
        path.touch()
        for create in (False, True):
            with pytest.raises(StorageError) as caught:
                Layout.open(path, create=create)
            assert path in (caught.value.path, caught.value.path.parent)

    def test_other_version_is_refused(self, layout: Layout) -> None:
        """What a later version means nobody knows yet."""
        (layout.root / "oci-layout").write_text('{"imageLayoutVersion":"2.0.0"}')
        with pytest.raises(ContentError, match=r"expected '1\.0\.0', got '2\.0\.0'"):
            Layout.open(layout.root)

    @pytest.mark.parametrize(
        "garbage",
        [b"", b"{", b"\xff", b"[]", b'{"manifests":{}}', b'{"manifests":[{}]}', b'{"manifests":[1]}'],
    )
    def test_garbage_in_index_json_is_a_content_error_and_stays(self, layout: Layout, garbage: bytes) -> None:
        """Nothing is overwritten that a person might still repair."""
        path = layout.root / "index.json"
        path.write_bytes(garbage)
        descriptor = layout.add_blob(b"x", "application/x")
        for act in (layout.names, lambda: layout.tag(descriptor, "x"), lambda: layout.remove("x")):
            with pytest.raises(ContentError) as caught:
                act()
            assert str(path) in caught.value.problem and caught.value.hint
        assert path.read_bytes() == garbage


class TestBlobs:
    """Content is stored once, whole, and believed only when checked."""

    def test_blob_comes_back(self, layout: Layout) -> None:
        """Read-only, under its digest, nothing left behind."""
        descriptor = layout.add_blob(b"abc", "application/x")
        path = layout.root / "blobs/sha256" / digest_of(b"abc").removeprefix("sha256:")
        assert layout.fetch(descriptor) == b"abc"
        assert path.stat().st_mode & 0o777 == 0o444
        assert files_in(layout.root / "ingest") == []

    def test_blob_that_is_there_is_not_written_again(self, layout: Layout) -> None:
        """The file stays the same file, but counts as young again."""
        path = layout.blob_path(layout.add_blob(b"abc", "application/x").digest)
        os.utime(path, (0, 0))
        before = path.stat()
        layout.add_blob(b"abc", "application/x")
        assert path.stat().st_ino == before.st_ino
        assert path.stat().st_mtime > before.st_mtime

    @pytest.mark.parametrize("damaged", [b"abd", b"ab", b"abcd", b""])
    def test_damaged_blob_is_never_returned_and_is_replaced(self, layout: Layout, damaged: bytes) -> None:
        """Flipped, cut, grown or emptied: reading fails, storing it again heals it."""
        descriptor = layout.add_blob(b"abc", "application/x")
        path = layout.blob_path(descriptor.digest)
        path.chmod(0o644)
        path.write_bytes(damaged)
        with pytest.raises((SizeMismatch, DigestMismatch)):
            layout.fetch(descriptor)
        layout.add_blob(b"abc", "application/x")
        assert layout.fetch(descriptor) == b"abc"

    def test_missing_blob_is_not_found(self, layout: Layout) -> None:
        """By digest."""
        with pytest.raises(NotFound) as caught:
            layout.fetch(Descriptor.of(b"abc", "application/x"))
        assert caught.value.what == digest_of(b"abc")

    def test_content_other_than_described_leaves_nothing(self, layout: Layout) -> None:
        """Neither under its digest nor among the files that are still growing."""
        descriptor = Descriptor.of(b"abc", "application/x")
        for chunks in ([b"abd"], [b"ab"], [b"abc", b"d"]):
            with pytest.raises((SizeMismatch, DigestMismatch)):
                layout.add(descriptor, chunks)
        assert blobs(layout) == set()
        assert files_in(layout.root / "ingest") == []

    def test_folder_in_place_of_a_blob_is_a_storage_error(self, layout: Layout) -> None:
        """It is named, and no reader hangs on a pipe either."""
        descriptor = Descriptor.of(b"abc", "application/x")
        layout.blob_path(descriptor.digest).mkdir()
        pipe = Descriptor.of(b"abcd", "application/x")
        os.mkfifo(layout.blob_path(pipe.digest))
        for odd in (descriptor, pipe):
            with pytest.raises(StorageError, match="not a regular file"):
                layout.fetch(odd)

    def test_sha512_has_its_own_folder(self, layout: Layout) -> None:
        """As image-layout says."""
        descriptor = Descriptor("application/x", digest_of(b"abc", "sha512"), 3)
        layout.add(descriptor, [b"abc"])
        assert (layout.root / "blobs/sha512").is_dir()
        assert layout.fetch(descriptor) == b"abc"


class TestNames:
    """A name stands for content that is whole."""

    def test_image_is_listed_as_ig_lists_it(self, layout: Layout, put: Put) -> None:
        """The index by its complete name, its manifests without, with platform and annotations."""
        image = put("v1", "foo")
        index = Index.from_bytes(layout.fetch(image))
        named = {"mediaType": MEDIA_TYPE_INDEX, "digest": image.digest, "size": image.size_bytes}
        named["annotations"] = {"org.opencontainers.image.ref.name": FOO}
        listed = index_json(layout)["manifests"]
        assert listed[0] == named
        assert sorted(entry["digest"] for entry in listed[1:]) == sorted(m.digest for m in index.manifests)
        assert all("platform" in entry and "ref.name" not in str(entry) for entry in listed[1:])

    def test_resolve_by_name_and_by_digest(self, layout: Layout, put: Put) -> None:
        """A digest finds what is listed, whatever the repository in front of it."""
        image = put("v1", "foo")
        wanted = [Reference.parse("foo"), FOO, image.digest, Reference.parse(f"a/b@{image.digest}")]
        assert [layout.resolve(reference) for reference in wanted] == [image] * 4

    def test_unknown_name_suggests_a_near_one(self, layout: Layout, put: Put) -> None:
        """A typing error is recognised."""
        put("v1", "trace_malloc")
        with pytest.raises(NotFound) as caught:
            layout.resolve(Reference.parse("trace_maloc"))
        assert "trace_malloc:latest?" in (caught.value.hint or "")

    @pytest.mark.parametrize("part", ["index", "manifest", "config", "layer"])
    @pytest.mark.parametrize("wound", ["missing", "damaged"])
    def test_incomplete_image_gets_no_name(self, layout: Layout, put: Put, part: str, wound: str) -> None:
        """Whatever is wrong anywhere under it, index.json stays as it was."""
        image = put("v1", "foo")
        manifest = Index.from_bytes(layout.fetch(image)).manifests[1]
        content = json.loads(layout.fetch(manifest))
        digests = {
            "index": image.digest,
            "manifest": manifest.digest,
            "config": content["config"]["digest"],
            "layer": content["layers"][0]["digest"],
        }
        path = layout.blob_path(digests[part])
        size = path.stat().st_size
        path.unlink()
        if wound == "damaged":
            path.write_bytes(b"x" * size)
        before = index_json(layout)
        with pytest.raises(ContentError):
            layout.tag(image, Reference.parse("bar"))
        assert index_json(layout) == before

    def test_several_names_come_at_once_or_not_at_all(self, layout: Layout, put: Put) -> None:
        """One bad root keeps all names back."""
        image = put("v1")
        missing = Descriptor.of(b"nothing", MEDIA_TYPE_INDEX)
        with pytest.raises(NotFound):
            layout.publish({"a": image, "b": missing})
        assert layout.names() == {}

    def test_name_moves_and_the_old_image_stays_listed(self, layout: Layout, put: Put) -> None:
        """Another tool may still use it by digest; ig does the same."""
        first, second = put("v1", "foo"), put("v2", "foo")
        assert layout.names() == {FOO: second}
        assert layout.resolve(first.digest) == first

    def test_manifest_too_large_is_refused(self, layout: Layout) -> None:
        """Nobody parses four megabytes of JSON for a name."""
        image = layout.add_blob(b" " * (5 << 20), MEDIA_TYPE_INDEX)
        with pytest.raises(ContentError, match="too many"):
            layout.tag(image, "x")

    def test_foreign_entries_and_members_survive(self, layout: Layout, put: Put) -> None:
        """Whatever another tool wrote is there after a name came and went."""
        odd = {
            "mediaType": "application/odd",
            "digest": f"sha256:{'0' * 64}",
            "size": 7,
            "urls": ["x"],
            "z": {"y": 1},
        }
        document = {
            "schemaVersion": 2,
            "future": [1, {"a": None}],
            "manifests": [odd],
            "annotations": {"k": "v"},
        }
        (layout.root / "index.json").write_text(json.dumps(document))
        put("v1", "foo")
        layout.remove(Reference.parse("foo"), grace_s=0)
        assert index_json(layout) == document

    def test_name_listed_twice_means_the_last(self, layout: Layout, put: Put) -> None:
        """As ig reads it; taking the name away takes both."""
        first, second = put("v1", "a"), put("v2", "b")
        text = (layout.root / "index.json").read_text().replace("gadget/b:", "gadget/a:")
        (layout.root / "index.json").write_text(text)
        name = "ghcr.io/inspektor-gadget/gadget/a:latest"
        assert layout.names() == {name: second}
        layout.remove(name)
        assert layout.names() == {}
        assert first != second


class TestRemove:
    """With its last name an image goes, and nothing that anything else needs."""

    def test_other_name_keeps_the_image(self, layout: Layout, put: Put) -> None:
        """Only the name goes."""
        image = put("v1", "foo", "bar")
        before = blobs(layout)
        assert layout.remove(Reference.parse("bar"), grace_s=0) == [
            "ghcr.io/inspektor-gadget/gadget/bar:latest"
        ]
        assert layout.names() == {FOO: image}
        assert blobs(layout) == before

    def test_last_name_takes_everything_with_it(self, layout: Layout, put: Put) -> None:
        """Entries and blobs."""
        put("v1", "foo")
        layout.remove(Reference.parse("foo"), grace_s=0)
        assert layout.entries() == []
        assert blobs(layout) == set()

    def test_shared_blobs_stay(self, layout: Layout, put: Put) -> None:
        """Two images have one config: it goes with the second."""
        other = put("v2", "bar")
        alone = blobs(layout)
        put("v1", "foo")
        layout.remove(Reference.parse("foo"), grace_s=0)
        assert blobs(layout) == alone
        layout.tag(other, "still-whole")

    def test_young_blobs_stay(self, layout: Layout, put: Put) -> None:
        """They may belong to what another process is about to name."""
        image = put("v1", "foo")
        before = blobs(layout)
        layout.remove(Reference.parse("foo"))
        assert layout.entries() == []
        assert blobs(layout) == before
        layout.tag(image, Reference.parse("foo"))
        layout.remove(Reference.parse("foo"))
        layout.collect_garbage(grace_s=0)
        assert blobs(layout) == set()

    def test_signatures_go_with_the_last_name(
        self, layout: Layout, put: Put, sign: Callable[..., Descriptor]
    ) -> None:
        """Those by tag and those by subject, and signatures of signatures; those of other images stay."""
        image, other = put("v1", "foo", "bar"), put("v2", "other")
        sign(sign(image), by_subject=True)
        sign(sign(image, by_subject=True))
        sign(other)
        kept_name = f"{other.digest.replace(':', '-')}.sig"
        layout.remove(Reference.parse("bar"), grace_s=0)
        assert len(layout.names()) == 5
        gone = layout.remove(Reference.parse("foo"), grace_s=0)
        assert f"{image.digest.replace(':', '-')}.sig" in gone and len(gone) == 3
        assert set(layout.names()) == {"ghcr.io/inspektor-gadget/gadget/other:latest", kept_name}
        reachable = {node.digest for node in layout.with_attachments([other])[0]}
        assert blobs(layout) == reachable

    def test_signature_of_a_shared_manifest_stays(
        self, layout: Layout, put: Put, sign: Callable[..., Descriptor]
    ) -> None:
        """What another image needs keeps what is attached to it."""
        image = put("v1", "foo")
        manifests = Index.from_bytes(layout.fetch(image)).manifests
        half = layout.add_blob(Index(manifests=manifests[:1]).to_bytes(), MEDIA_TYPE_INDEX)
        layout.tag(half, "half")
        signature = sign(manifests[0])
        sign(manifests[1])
        layout.remove(Reference.parse("foo"), grace_s=0)
        kept = f"{manifests[0].digest.replace(':', '-')}.sig"
        assert layout.names() == {"half": half, kept: signature}

    def test_digest_stands_for_all_names(self, layout: Layout, put: Put) -> None:
        """All of them, or those of one repository."""
        image = put("v1", "foo:1", "foo:2", "bar")
        layout.remove(Reference.parse(f"foo@{image.digest}"), grace_s=0)
        assert list(layout.names()) == ["ghcr.io/inspektor-gadget/gadget/bar:latest"]
        with pytest.raises(NotFound, match="foo"):
            layout.remove(Reference.parse(f"foo@{image.digest}"))
        layout.remove(image.digest, grace_s=0)
        assert blobs(layout) == set()

    def test_part_of_an_image_cannot_be_removed_alone(self, layout: Layout, put: Put) -> None:
        """The error names the image that needs it."""
        image = put("v1", "foo")
        part = Index.from_bytes(layout.fetch(image)).manifests[0]
        with pytest.raises(ContentError, match=f"needed by {FOO}"):
            layout.remove(part.digest, grace_s=0)
        layout.tag(image, "still-whole")

    def test_untagged_image_goes_by_digest(self, layout: Layout, put: Put) -> None:
        """Such as the one before the last build."""
        image = put("v1")
        assert layout.remove(image.digest, grace_s=0) == []
        assert blobs(layout) == set()

    def test_damaged_image_can_be_removed(self, layout: Layout, put: Put) -> None:
        """Removing is what one does with it."""
        image = put("v1", "foo")
        layout.blob_path(image.digest).unlink()
        layout.remove(Reference.parse("foo"), grace_s=0)
        assert layout.names() == {}

    def test_content_of_unknown_kinds_is_kept(self, layout: Layout, put: Put) -> None:
        """An entry in a media type of the future may need whatever digest it mentions."""
        needed = layout.add_blob(b"needed", "application/x")
        layout.tag(layout.add_blob(needed.digest.encode(), "application/vnd.future+json"), "future")
        put("v1", "foo")
        layout.remove(Reference.parse("foo"), grace_s=0)
        assert layout.fetch(needed) == b"needed"

    def test_leftovers_of_killed_writers_go_when_old(self, layout: Layout) -> None:
        """A file that still grows is left alone."""
        (layout.root / "ingest/half_1").write_bytes(b"x")
        layout.collect_garbage()
        assert files_in(layout.root / "ingest") == ["half_1"]
        layout.collect_garbage(grace_s=0)
        assert files_in(layout.root / "ingest") == []

    def test_files_that_are_no_blobs_are_left_alone(self, layout: Layout) -> None:
        """Nothing is deleted that a layout has no name for."""
        (layout.root / "blobs/sha256/README").touch()
        layout.collect_garbage(grace_s=0)
        assert (layout.root / "blobs/sha256/README").exists()


def test_referrers_are_found_by_subject(layout: Layout, put: Put, sign: Callable[..., Descriptor]) -> None:
    """With artifact type and annotations of the manifest; damaged ones are not there."""
    image = put("v1", "foo")
    signature = sign(image, by_subject=True)
    assert [found.digest for found in layout.referrers(image.digest)] == [signature.digest]
    assert layout.referrers(image.digest)[0].artifact_type == "application/x.signature"
    assert layout.referrers(image.digest)[0].media_type == MEDIA_TYPE_MANIFEST
    layout.blob_path(signature.digest).unlink()
    assert layout.referrers(image.digest) == []


def test_reading_makes_no_files(layout: Layout, put: Put) -> None:
    """Not even a lock."""
    image = put("v1", "foo")
    (layout.root / "index.json.lock").unlink()
    reader = Layout.open(layout.root)
    assert reader.fetch(reader.resolve(FOO)) and image
    assert not (layout.root / "index.json.lock").exists()
