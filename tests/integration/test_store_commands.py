"""The verbs on the store, as a person types them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gadgetops.oci.content import MEDIA_TYPE_INDEX, MEDIA_TYPE_MANIFEST, Descriptor, Index, Manifest
from gadgetops.oci.image import EMPTY_CONFIG, Blob, PlatformContent, write_image
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.layout.store import open_store
from gadgetops.oci.reference import Reference

Call = Callable[..., Any]
FOO = "ghcr.io/inspektor-gadget/gadget/foo:latest"


class Result(NamedTuple):
    """Exit status and output of one call."""

    status: int
    out: str
    err: str


@pytest.fixture
def gadgetops() -> Call:
    """Call the command line in a process of its own, as a shell does: `gadgetops("list")`."""

    def call(*arguments: object) -> Result:
        command = [sys.executable, "-m", "gadgetops", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return Result(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def store() -> Layout:
    """The store that the verbs use."""
    return open_store()


def put(store: Layout, *names: str, text: str = "v1") -> Descriptor:
    """Store an image of two architectures under *names*."""
    return write_image(
        store,
        [
            PlatformContent(architecture, EMPTY_CONFIG, [Blob(text.encode(), "application/x.layer")])
            for architecture in ("amd64", "arm64")
        ],
        artifact_type="application/x",
        annotations={"org.opencontainers.image.created": "2024-01-01T00:00:00Z", "text": text},
        references=[Reference.parse(name) for name in names],
    )


def sign(store: Layout, image: Descriptor) -> str:
    """Give *image* a signature tag and return it."""
    manifest = Manifest(config=store.add_blob(b"{}", "application/x"), layers=())
    tag = f"{image.digest.replace(':', '-')}.sig"
    store.tag(store.add_blob(manifest.to_bytes(), MEDIA_TYPE_MANIFEST), tag)
    return tag


class TestList:
    """`gadgetops list`."""

    def test_json(self, store: Layout, gadgetops: Call) -> None:
        """All there is to say about each image; signatures and other content are not images."""
        image = put(store, "foo", "localhost:5000/bar:v1")
        sign(store, image)
        store.tag(store.add_blob(b"text", "text/plain"), "notes")
        listed = json.loads(gadgetops("list", "--format", "json").out)
        rest = {
            "digest": image.digest,
            "created": "2024-01-01T00:00:00Z",
            "platforms": ["linux/amd64", "linux/arm64"],
            "problem": None,
        }
        assert listed == [{"reference": FOO, **rest}, {"reference": "localhost:5000/bar:v1", **rest}]

    def test_table_has_familiar_names(self, store: Layout, gadgetops: Call) -> None:
        """As `ig image list` shows them."""
        image = put(store, "foo")
        heading, row = gadgetops("list").out.splitlines()
        assert heading.split() == ["REFERENCE", "DIGEST", "CREATED", "PLATFORMS"]
        assert row.split() == [
            "foo:latest",
            image.digest[:19],
            "2024-01-01T00:00:00Z",
            "linux/amd64,",
            "linux/arm64",
        ]

    def test_csv(self, store: Layout, gadgetops: Call) -> None:
        """One line an image, platforms separated by spaces."""
        image = put(store, "foo")
        lines = gadgetops("list", "--format", "csv").out.splitlines()
        assert lines == [
            "reference,digest,created,platforms,problem",
            f"{FOO},{image.digest},2024-01-01T00:00:00Z,linux/amd64 linux/arm64,",
        ]

    def test_empty_and_missing_store(self, gadgetops: Call) -> None:
        """No images is an answer, not an error; listing makes no store."""
        missing = gadgetops("list", "--format", "json")
        assert (missing.status, missing.out) == (0, "[]\n") and "no images yet" in missing.err
        assert not Path(os.environ["GADGETOPS_STORE"]).exists()
        open_store()
        empty = gadgetops("list")
        assert (empty.status, empty.out, empty.err) == (0, "", "")

    @pytest.mark.parametrize("wound", ["index", "manifest", "layer", "platform"])
    def test_damaged_image_does_not_hide_the_others(self, store: Layout, gadgetops: Call, wound: str) -> None:
        """It is shown as damaged, with the reason; ig v0.48.0 panics on some of these."""
        image = put(store, "broken")
        put(store, "foo", text="v2")
        manifest = Index.from_bytes(store.fetch(image)).manifests[0]
        layer = Manifest.from_bytes(store.fetch(manifest)).layers[0]
        if wound == "platform":
            entry = Descriptor(manifest.media_type, manifest.digest, manifest.size_bytes)
            store.tag(store.add_blob(Index((entry,)).to_bytes(), MEDIA_TYPE_INDEX), Reference.parse("broken"))
        else:
            store.blob_path({"index": image, "manifest": manifest, "layer": layer}[wound].digest).unlink()
        result = gadgetops("list", "--format", "json")
        broken, sound = json.loads(result.out)
        assert result.status == 0
        assert (
            broken["reference"].endswith("/broken:latest") and broken["problem"] and not broken["platforms"]
        )
        assert sound["reference"] == FOO and sound["problem"] is None
        assert "gadgetops: warning: ghcr.io/inspektor-gadget/gadget/broken:latest: " in result.err
        assert "damaged" in gadgetops("list").out

    def test_garbage_in_index_json(self, store: Layout, gadgetops: Call) -> None:
        """One sentence, no traceback, exit status 1."""
        (store.root / "index.json").write_text("{")
        result = gadgetops("list")
        assert (result.status, result.out) == (1, "")
        assert result.err.startswith(f"gadgetops: error: {store.root}/index.json: not JSON")


class TestTag:
    """`gadgetops tag`."""

    def test_further_name(self, store: Layout, gadgetops: Call) -> None:
        """By name or by digest."""
        image = put(store, "foo")
        assert gadgetops("tag", "foo", "localhost:5000/bar").status == 0
        assert gadgetops("tag", image.digest, "baz").status == 0
        assert [d.digest for d in store.names().values()] == [image.digest] * 3

    @pytest.mark.parametrize(
        ("arguments", "status", "message"),
        [
            (("nothing", "bar"), 1, "nothing:latest: not found"),
            (("foo", "Bar"), 2, "upper-case"),
            (("foo bar", "x"), 2, "white space"),
            (("foo", "bar@sha256:" + "0" * 64), 2, "a new name has no digest"),
            (("foo",), 2, "DST"),
        ],
    )
    def test_wrong_requests(
        self, store: Layout, gadgetops: Call, arguments: tuple[str, ...], status: int, message: str
    ) -> None:
        """Exit status 2 for what is no name, 1 for what is not there; no name is given."""
        put(store, "foo")
        result = gadgetops("tag", *arguments)
        assert result.status == status and message in result.err
        assert list(store.names()) == [FOO]


class TestRemove:
    """`gadgetops remove`."""

    def test_several(self, store: Layout, gadgetops: Call) -> None:
        """Signatures go with the last name, and are named."""
        tag = sign(store, put(store, "foo", "bar"))
        result = gadgetops("remove", "foo", "bar")
        assert result.status == 0 and store.names() == {}
        assert tag in result.err.splitlines()[1]

    def test_unknown_name_removes_nothing(self, store: Layout, gadgetops: Call) -> None:
        """Not even those before it; a near name is suggested."""
        put(store, "foo", "trace_malloc")
        result = gadgetops("remove", "foo", "trace_maloc")
        assert result.status == 1 and "did you mean" in result.err
        assert len(store.names()) == 2

    def test_digest(self, store: Layout, gadgetops: Call) -> None:
        """All names of the image."""
        image = put(store, "foo", "bar")
        assert gadgetops("remove", image.digest).status == 0
        assert store.names() == {}


class TestArchives:
    """`gadgetops export` and `gadgetops import-image`."""

    def test_there_and_back(
        self, store: Layout, gadgetops: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Same names, same digests, names on standard output."""
        image = put(store, "foo", "bar:2")
        tag = sign(store, image)
        file = tmp_path / "x.tar"
        assert gadgetops("export", "foo", "bar:2", file).status == 0
        monkeypatch.setenv("GADGETOPS_STORE", str(tmp_path / "other"))
        result = gadgetops("import-image", file)
        assert result.out.split() == ["ghcr.io/inspektor-gadget/gadget/bar:2", FOO]
        assert {name: d.digest for name, d in open_store().names().items() if name != tag} == {
            FOO: image.digest,
            "ghcr.io/inspektor-gadget/gadget/bar:2": image.digest,
        }
        assert tag in open_store().names()

    def test_through_a_pipe(self, store: Layout, tmp_path: Path) -> None:
        """`-` is standard output there and standard input here."""
        put(store, "foo")
        command = [sys.executable, "-m", "gadgetops"]
        archive = subprocess.run([*command, "export", "foo", "-"], capture_output=True, check=True).stdout
        imported = subprocess.run(
            [*command, "import-image", "-"],
            input=archive,
            capture_output=True,
            check=True,
            env={**os.environ, "GADGETOPS_STORE": str(tmp_path / "other")},
        )
        assert imported.stdout.decode().split() == [FOO]

    def test_name_on_import(self, store: Layout, gadgetops: Call, tmp_path: Path) -> None:
        """`--tag` goes before what the archive says."""
        put(store, "foo")
        gadgetops("export", "foo", tmp_path / "x.tar")
        assert gadgetops("import-image", "--tag", "bar", tmp_path / "x.tar").out.endswith(
            "gadget/bar:latest\n"
        )
        assert gadgetops("import-image", "--tag", "Bar", tmp_path / "x.tar").status == 2

    def test_failed_export_leaves_what_was_there(
        self, store: Layout, gadgetops: Call, tmp_path: Path
    ) -> None:
        """A damaged image does not cost yesterday's good archive."""
        image = put(store, "foo")
        file = tmp_path / "x.tar"
        file.write_bytes(b"before")
        layer = Manifest.from_bytes(store.fetch(Index.from_bytes(store.fetch(image)).manifests[0])).layers[0]
        store.blob_path(layer.digest).unlink()
        result = gadgetops("export", "foo", file)
        assert result.status == 1 and "not found" in result.err
        assert file.read_bytes() == b"before" and list(tmp_path.glob("x.tar*")) == [file]

    @pytest.mark.parametrize("content", [None, b"", b"no tar", b"\x1f\x8b\x08"])
    def test_bad_files(self, gadgetops: Call, tmp_path: Path, content: bytes | None) -> None:
        """Missing, empty, of another kind, compressed: the file is named and nothing is stored."""
        file = tmp_path / "x.tar"
        if content is not None:
            file.write_bytes(content)
        result = gadgetops("import-image", file)
        assert result.status == 1 and f"gadgetops: error: {file}: " in result.err
        assert open_store().entries() == []

    def test_unwritable_target(self, store: Layout, gadgetops: Call, tmp_path: Path) -> None:
        """A folder, or a file in no folder."""
        put(store, "foo")
        for target in (tmp_path, tmp_path / "none/x.tar"):
            result = gadgetops("export", "foo", target)
            assert result.status == 1 and f"gadgetops: error: {target}: " in result.err
            assert "--store" not in result.err


class TestStoreOption:
    """`--store` and GADGETOPS_STORE."""

    def test_folder(self, gadgetops: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Any folder can be a store."""
        monkeypatch.delenv("GADGETOPS_STORE")
        put(Layout.open(tmp_path / "store", create=True), "foo")
        result = gadgetops("list", "--store", tmp_path / "store", "--format", "json")
        assert [image["reference"] for image in json.loads(result.out)] == [FOO]

    def test_variable_that_overrides_the_option_is_mentioned(self, gadgetops: Call, tmp_path: Path) -> None:
        """Nobody is left wondering where the images went."""
        result = gadgetops("list", "--store", tmp_path)
        assert result.status == 0 and "has no effect: GADGETOPS_STORE" in result.err


class TestPrune:
    """`gadgetops prune`, `list --untagged`, and what goes with a last name."""

    def test_what_rebuilding_leaves_is_listed_and_goes(self, store: Layout, gadgetops: Call) -> None:
        """What has a name stays, with its signatures and parts."""
        old = put(store, "foo", text="v1")
        sign(store, old)
        new, other = put(store, "foo", text="v2"), put(store, "bar", text="v3")
        kept = sign(store, other)
        listed = json.loads(gadgetops("list", "--untagged", "--format", "json").out)
        assert [(row["reference"], row["problem"]) for row in listed] == [(old.digest, None)]
        assert gadgetops("prune", "--dry-run").out == f"{old.digest}\n"
        assert store.untagged() != []
        pruned = gadgetops("prune")
        assert (pruned.out, pruned.err) == (f"{old.digest}\n", "removed 1 image without a name\n")
        assert gadgetops("list", "--untagged").out == gadgetops("prune").out == ""
        assert {each.digest for _, each in store.entries()} >= {new.digest, other.digest}
        assert kept in store.names() and len(store.names()) == 3

    def test_nothing_stays_after_the_last_name(self, store: Layout, gadgetops: Call) -> None:
        """What had it before goes along, whatever number of rebuilds; what had another name stays."""
        for number in range(4):
            put(store, "foo", text=f"v{number}")
        bar = [put(store, "bar", text=f"w{number}") for number in range(2)]
        assert gadgetops("remove", "foo").status == 0
        assert [each.digest for each in store.untagged()] == [bar[0].digest]
        assert gadgetops("remove", "bar").status == 0
        assert store.entries() == []
        store.collect_garbage(grace_s=-1)
        assert [*store.root.glob("blobs/sha256/*")] == []

    def test_what_got_another_name_stays(self, store: Layout, gadgetops: Call) -> None:
        first = put(store, "foo", text="v1")
        put(store, "foo", text="v2")
        store.tag(first, Reference.parse("kept"))
        assert gadgetops("remove", "foo").status == 0
        assert [each.digest for each in store.names().values()] == [first.digest]
        assert store.untagged() == []

    def test_a_damaged_image_without_a_name_can_go(self, store: Layout, gadgetops: Call) -> None:
        old = put(store, "foo", text="v1")
        put(store, "foo", text="v2")
        store.blob_path(old.digest).unlink()
        assert old.digest in gadgetops("prune").out
        assert old.digest not in {each.digest for _, each in store.entries()}

    def test_untagged_is_not_for_registries(self, gadgetops: Call) -> None:
        assert gadgetops("list", "--untagged", "--remote", "localhost:1/x").status == 2
