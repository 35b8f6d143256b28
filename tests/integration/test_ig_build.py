"""What ig makes of a gadget and what we make of it: the same image."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gadgetops.gadget.building.pack import IG_VERSION
from gadgetops.oci.graph import children_of, walk
from gadgetops.oci.layout.layout import Layout

pytestmark = [
    pytest.mark.ig,
    pytest.mark.clang,
    pytest.mark.skipif(os.geteuid() != 0, reason="ig needs root"),
]

MINIMAL = Path(__file__).parents[1] / "data" / "gadgets" / "minimal"
TAG = "localhost:5000/minimal:v1"
BUILDER = "io.inspektor-gadget.builder.version"


@pytest.fixture
def gadget(tmp_path: Path) -> Path:
    """A gadget that ig can build too: it does not look for headers in `include` by itself."""
    gadget = shutil.copytree(MINIMAL, tmp_path / "gadget")
    (gadget / "build.yaml").write_text("cflags: -Iinclude\n")
    return gadget


@pytest.fixture
def ig(tmp_path: Path, gadget: Path) -> Callable[..., str]:
    """Call ig with a store of its own, the layout in `tmp_path / "lib/ig/oci-store"`."""
    (tmp_path / "lib").mkdir()

    def call(*arguments: object, **environment: str) -> str:
        # ig's store has a fixed path: hide the machine's. Some ig need to see their own pid in /proc.
        script = 'mount --bind "$0" /var/lib && exec ig "$@"'
        argv = [
            "unshare",
            "--pid",
            "--fork",
            "--mount-proc",
            "sh",
            "-c",
            script,
            tmp_path / "lib",
            *arguments,
        ]
        # Since 0.48.1 ig ignores the options in build.yaml; clang reads this by itself.
        headers = {"CPATH": str(gadget / "include")}
        settings = os.environ | {"IG_EXPERIMENTAL": "false"} | headers | environment
        done = subprocess.run(
            list(map(str, argv)), env=settings, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def store_of_ig(tmp_path: Path) -> Layout:
    return Layout.open(tmp_path / "lib/ig/oci-store")


def impostor(folder: Path, objects: Path) -> dict[str, str]:
    """
    Return variables for a compiler that "compiles" by copying an object of the name that is asked for.

    ig 0.48.0 finds it by CLANG, later ones on PATH.
    """
    tools = folder / "impostor"
    tools.mkdir()
    copying = f'while [ "$1" != -o ]; do shift; done\nexec cp "{objects}/$(basename "$2")" "$2"'
    for name, text in (("clang", copying), ("llvm-strip", "exit 0")):
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    return {"PATH": path, "CLANG": str(tools / "clang"), "LLVM_STRIP": str(tools / "llvm-strip")}


def digest_in(out: str) -> str:
    return out.strip().rpartition("@")[2]


@pytest.mark.parametrize("with_metadata", [True, False])
def test_the_same_objects_make_an_image_of_the_same_digest(
    gadget: Path,
    tmp_path: Path,
    gadgetops: Callable[..., object],
    ig: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    with_metadata: bool,
) -> None:
    """Only the builder's version is made equal, by gadget.yaml, which has the last word on annotations."""
    metadata = gadget / "gadget.yaml"
    version = ig("version").strip()
    metadata.write_text(
        metadata.read_text().replace("annotations:\n", f"annotations:\n  {BUILDER}: {version}\n", 1)
    )
    if not with_metadata:
        metadata.unlink()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    ours = digest_in(gadgetops("build", gadget, "-t", TAG, "-o", tmp_path / "objects").out)
    ig("image", "build", "--local", "-t", TAG, gadget, **impostor(tmp_path, tmp_path / "objects"))
    theirs = store_of_ig(tmp_path).resolve(TAG)
    assert theirs.digest == ours
    assert theirs == Layout.open(Path(os.environ["GADGETOPS_STORE"])).resolve(TAG)


def test_what_ig_compiles_is_packed_member_for_member_alike(
    gadget: Path,
    tmp_path: Path,
    gadgetops: Callable[..., object],
    ig: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    gadgetops("build", gadget, "-t", TAG)
    ig("image", "build", "--local", "-t", TAG, gadget)
    ours = shape(Layout.open(Path(os.environ["GADGETOPS_STORE"])))
    theirs = shape(store_of_ig(tmp_path))
    assert ours == [line.replace(ig("version").strip(), IG_VERSION) for line in theirs]


def shape(layout: Layout) -> list[str]:
    """Return the JSON documents of the image, as written, without digests and sizes."""
    nodes = walk([layout.resolve(TAG)], lambda node: children_of(layout, node))
    documents = [layout.fetch(node) for node in nodes if node.is_index or node.is_manifest]
    return [json.dumps(masked(json.loads(document))) for document in documents]


def masked(value: object) -> object:
    if isinstance(value, dict):
        return {key: "…" if key in ("digest", "size") else masked(item) for key, item in value.items()}
    return [masked(item) for item in value] if isinstance(value, list) else value


def test_ig_reads_what_we_build_into_its_store(
    gadget: Path,
    tmp_path: Path,
    gadgetops: Callable[..., object],
    ig: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GADGETOPS_STORE", str(tmp_path / "lib/ig/oci-store"))
    (tmp_path / "lib/ig").mkdir()
    digest = digest_in(gadgetops("build", gadget, "-t", TAG).out)
    (image,) = json.loads(ig("image", "list", "-o", "json"))
    assert (image["Repository"], image["Tag"], image["Digest"]) == ("localhost:5000/minimal", "v1", digest)
    inspect = ("image", "inspect", TAG, "--verify-image=false", "--auto-mount-filesystems")
    assert json.loads(ig(*inspect, "--extra-info", "ebpf.maps"))
    assert ig(*inspect, "--extra-info", "ebpf.flowchart").startswith("flowchart LR\n")
    assert "reports releases of memory" in ig(*inspect, "--extra-info", "oci.metadata")


def test_ig_fills_in_the_same_texts(
    gadget: Path, gadgetops: Callable[..., object], ig: Callable[..., str]
) -> None:
    """And so ig has nothing to add to a gadget.yaml that we wrote, but fields that start with underscores."""
    (gadget / "gadget.yaml").unlink()
    gadgetops("build", gadget, "--update-metadata")
    ours = (gadget / "gadget.yaml").read_text()
    ig("image", "build", "--local", "--update-metadata", gadget)
    theirs = (gadget / "gadget.yaml").read_text()
    private = (
        "      __private:\n        annotations:\n          description: 'TODO: Fill field description'\n"
    )
    assert sorted(theirs.replace('"', "'").splitlines()) == sorted((ours + private).splitlines())
