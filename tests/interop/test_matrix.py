"""
Images go between gadgetops and other people's clients, through other people's registries, with equal digests.

docs/interop.md is the table of what is tried here.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from interop.clients import Client, Crane
from services.images import attach_referrer, put_image

from gadgetops.oci.content import Descriptor
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.layout.store import open_store

pytestmark = pytest.mark.interop

Gadgetops = Callable[..., Any]


@pytest.fixture
def name(host: str, request: pytest.FixtureRequest) -> str:
    """A reference in a repository that only this test uses."""
    return f"{host}/t/{abs(hash(request.node.nodeid)):x}:v1"


@pytest.fixture
def pushed(gadgetops: Gadgetops, name: str) -> Descriptor:
    """An image of two platforms that we pushed as *name*, with something attached to it."""
    store = open_store()
    image = put_image(store, name)
    attach_referrer(store, image)
    done = gadgetops("push", name)
    assert done.status == 0, done.err
    return image


def test_theirs_reads_ours(client: Client, name: str, pushed: Descriptor) -> None:
    """By name."""
    assert client.digest(name) == pushed.digest


def test_ours_reads_theirs(
    gadgetops: Gadgetops,
    client: Client,
    name: str,
    pushed: Descriptor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What they copied to another repository is whole, and the same."""
    client.copy(name, f"{name}-copied")
    monkeypatch.setenv("GADGETOPS_STORE", str(tmp_path / "empty"))
    done = gadgetops("pull", f"{name}-copied")
    assert done.status == 0, done.err
    assert open_store().resolve(f"{name}-copied").digest == pushed.digest


def test_ours_reads_their_folders(
    gadgetops: Gadgetops, client: Client, name: str, pushed: Descriptor, tmp_path: Path
) -> None:
    """OCI layouts, whatever name they gave."""
    client.to_folder(name, tmp_path / "theirs")
    done = gadgetops("copy", f"oci:{tmp_path / 'theirs'}", f"{name}-from-folder")
    assert done.status == 0, done.err
    assert done.out.strip().endswith(pushed.digest)


def test_theirs_reads_our_folders(
    gadgetops: Gadgetops, client: Client, name: str, pushed: Descriptor, tmp_path: Path
) -> None:
    """An OCI layout with one image, to a registry with an equal digest."""
    assert gadgetops("copy", name, f"oci:{tmp_path / 'ours'}", "--no-referrers").status == 0
    assert pushed.digest in {found.digest for found in Layout.open(tmp_path / "ours").names().values()}
    client.from_folder(tmp_path / "ours", f"{name}-theirs")
    assert client.digest(f"{name}-theirs") == pushed.digest


def test_crane_pushes_our_index_file_as_it_is(
    gadgetops: Gadgetops, name: str, pushed: Descriptor, tmp_path: Path
) -> None:
    """`--index` makes an image of index.json itself: of its bytes, with our image as its only part."""
    crane = Crane(tmp_path)
    assert gadgetops("copy", name, f"oci:{tmp_path / 'ours'}", "--no-referrers").status == 0
    crane.run("push", "--insecure", "--index", tmp_path / "ours", f"{name}-index")
    listing = (tmp_path / "ours" / "index.json").read_bytes()
    assert crane.digest(f"{name}-index") == "sha256:" + hashlib.sha256(listing).hexdigest()
    assert [each["digest"] for each in json.loads(listing)["manifests"]] == [pushed.digest]
