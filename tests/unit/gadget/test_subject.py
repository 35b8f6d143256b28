"""What is inspected is found by path, by reference, or not at all."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from gadgetops.errors import ContentError, InvalidReference, NotFound, ObjectError, StorageError, UsageError
from gadgetops.gadget.media_types import (
    ARTIFACT_TYPE,
    MEDIA_TYPE_METADATA,
    MEDIA_TYPE_OBJECT,
    MEDIA_TYPE_WASM,
)
from gadgetops.gadget.reading import subject
from gadgetops.gadget.reading.extra_info import extra_infos
from gadgetops.gadget.reading.inspect import facts
from gadgetops.gadget.reading.subject import host_architecture, open_subject
from gadgetops.oci.image import Blob, PlatformContent, write_image
from gadgetops.oci.layout.archive import export_archive
from gadgetops.oci.layout.layout import Layout

OBJECTS = Path(__file__).parents[2] / "data" / "objects"
ELF = (OBJECTS / "fields.bpf.o").read_bytes()
BIG = (OBJECTS / "big_endian.bpf.o").read_bytes()
MODULE = b"\0asm\1\0\0\0"
CREATED = "2024-01-01T00:00:00Z"


@dataclass
class Store:
    """A store with images in it."""

    layout: Layout
    path: Path

    def add(self, *names: str, layers: tuple[Blob, ...] = (Blob(ELF, MEDIA_TYPE_OBJECT),)) -> str:
        """Store an image of two architectures and return its digest."""
        config = Blob(b"name: x\n", MEDIA_TYPE_METADATA)
        other = PlatformContent("riscv64", config, (Blob(BIG, MEDIA_TYPE_OBJECT),))
        host = PlatformContent(host_architecture(), config, layers)
        return write_image(
            self.layout,
            [host, other],
            artifact_type=ARTIFACT_TYPE,
            annotations={"org.opencontainers.image.created": CREATED},
            references=names,
        ).digest


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store, the one that is used."""
    path = tmp_path / "store"
    monkeypatch.setenv("GADGETOPS_STORE", str(path))
    return Store(Layout.open(path, create=True), path)


def test_an_object_is_a_file(tmp_path: Path) -> None:
    """Its digest is that of its bytes; there is no image."""
    path = tmp_path / "any name"
    path.write_bytes(ELF)
    found = open_subject(str(path))
    assert (found.elf, found.picture, found.name) == (ELF, None, str(path))
    assert list(extra_infos(found)) == [
        "ebpf.flowchart", "ebpf.maps", "ebpf.programs", "ebpf.sections", "ebpf.sequence", "ebpf.variables",
    ]  # fmt: skip


def test_an_image_is_found_by_reference_or_digest(store: Store) -> None:
    """References are completed for the look-up, not for what is shown."""
    digest = store.add("ghcr.io/inspektor-gadget/gadget/mine:latest")
    for text in ("mine", digest):
        found = open_subject(text)
        assert (found.elf, found.digest) == (ELF, digest)
    infos = {name: info.content for name, info in extra_infos(open_subject("mine")).items()}
    assert (infos["oci.repository"], infos["oci.tag"], infos["oci.created"]) == ("mine", "latest", CREATED)
    assert infos["oci.metadata"] == "name: x\n"
    assert infos["oci.digest"] == json.loads(infos["oci.manifest"])["config"]["digest"]


def test_an_architecture_may_be_chosen(store: Store) -> None:
    """This machine's if none is; one that is not there is named with those that are."""
    store.add("localhost/mine:v1")
    assert open_subject("localhost/mine:v1", architecture="riscv64").elf == BIG
    with pytest.raises(NotFound, match="architecture sparc: not found") as caught:
        open_subject("localhost/mine:v1", architecture="sparc")
    assert "riscv64" in str(caught.value.hint)


def test_folders_and_tar_files_hold_one_image(store: Store, tmp_path: Path) -> None:
    """Which is called as it is called there."""
    store.add("localhost/mine:v1")
    tar = tmp_path / "mine.tar"
    tar.write_bytes(b"".join(export_archive(store.layout, ["localhost/mine:v1"])))
    for path in (store.path, tar):
        assert open_subject(str(path)).elf == ELF
    picture = open_subject(str(tar)).picture
    assert picture is not None
    assert picture.name == "localhost/mine:v1"


def test_of_several_images_none_is_chosen(store: Store) -> None:
    """They are named instead; a folder without any is said to have none."""
    with pytest.raises(NotFound, match="image: not found in"):
        open_subject(str(store.path))
    store.add("localhost/one:v1", "localhost/two:v1")
    with pytest.raises(UsageError, match="holds 2 images: localhost/one:v1, localhost/two:v1"):
        open_subject(str(store.path))


def test_an_image_may_have_no_programs(store: Store) -> None:
    """But a module; what it has is shown."""
    store.add("localhost/mine:v1", layers=(Blob(MODULE, MEDIA_TYPE_WASM),))
    found = open_subject("localhost/mine:v1")
    infos = extra_infos(found)
    assert (found.elf, found.object) == (None, None)
    assert "ebpf.maps" not in infos
    assert (infos["wasm.gadgetAPIVersion"].content, infos["wasm.upcalls"].content) == ("1", "[]")
    assert facts(found)["programs"] == []


@pytest.mark.parametrize("text", ["./missing", "/missing", "~/missing", "build/amd64.bpf.o", "x.tar"])
def test_paths_that_are_not_there_are_taken_for_paths(text: str) -> None:
    """And not for references that make no sense."""
    with pytest.raises(StorageError, match="no object, OCI layout or tar file"):
        open_subject(text)


def test_text_that_is_neither_is_refused(store: Store) -> None:
    """A reference that is one is looked up."""
    with pytest.raises(InvalidReference):
        open_subject("no reference")
    with pytest.raises(NotFound):
        open_subject("missing")


def test_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    """A damaged object as an object, anything else as a tar file."""
    damaged, other = tmp_path / "damaged.o", tmp_path / "other"
    damaged.write_bytes(ELF[:1000])
    other.write_bytes(b"hello")
    with pytest.raises(ObjectError, match=r"damaged\.o: "):
        _ = open_subject(str(damaged)).object
    with pytest.raises(ContentError, match="other: no tar file"):
        open_subject(str(other))


def test_files_and_layers_have_a_limit(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than this is read into memory."""
    store.add("localhost/mine:v1")
    path = tmp_path / "large.o"
    path.write_bytes(ELF)
    monkeypatch.setattr(subject, "MAX_LAYER_BYTES", 1000)
    with pytest.raises(ObjectError, match=r"large\.o: more than 1000 bytes"):
        open_subject(str(path))
    with pytest.raises(ContentError, match="bytes are too many"):
        open_subject("localhost/mine:v1")


def test_the_facts_have_always_the_same_members(tmp_path: Path) -> None:
    """Whatever is inspected; what is not known is null or empty."""
    path = tmp_path / "object.o"
    members = []
    for name in ("fields", "no_btf"):
        path.write_bytes((OBJECTS / f"{name}.bpf.o").read_bytes())
        found = facts(open_subject(str(path)))
        members.append(list(found))
        assert (found["problem"] is None) == (name == "fields")
        json.dumps(found)
    assert members[0] == members[1]
