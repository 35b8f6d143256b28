"""A signed image goes to each odd registry and comes back as it was, or the error says who is at fault."""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from services.images import assert_whole, attach_referrer, attach_signature, put_image
from services.misbehaving import Misbehaving, misbehaving
from services.oddities import Oddity, OddRegistry, oddities

from gadgetops.errors import GadgetOpsError
from gadgetops.oci.content import Descriptor
from gadgetops.oci.copying.copy_image import copy_image
from gadgetops.oci.copying.endpoints import open_goal, open_origin
from gadgetops.oci.graph import children_of
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.location import Location
from gadgetops.oci.reference import Reference
from gadgetops.oci.registry.access import Access, Patience
from gadgetops.oci.registry.client import Repository
from gadgetops.oci.registry.credentials import Credentials

ALICE = Credentials("alice", "open-sesame")
PART_BYTES = 2000
LAYER_BYTES = 5000
"""Layers go in three parts."""


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A folder with an image, a signature by tag, and one by its subject."""
    monkeypatch.setattr("gadgetops.oci.registry.upload.PART_BYTES", PART_BYTES)
    layout = Layout.open(tmp_path / "layout", create=True)
    image = put_image(layout, "v1", layer_bytes=LAYER_BYTES)
    attach_signature(layout, image)
    attach_referrer(layout, image)
    return layout


@contextlib.contextmanager
def running(oddity: Oddity) -> Iterator[tuple[OddRegistry, Misbehaving]]:
    """Run the registry of *oddity*, and a second one with the same content."""
    with misbehaving() as other, OddRegistry(oddity, other) as registry:
        yield registry, other


@contextlib.contextmanager
def oddly(registry: OddRegistry, verb: str) -> Iterator[Access]:
    """Yield how *registry* is reached, which is odd if it is while this *verb* is done."""
    registry.is_odd = verb in registry.oddity.odd
    yield Access(
        plain_http=frozenset({registry.host}),
        patience=Patience(first_wait_s=0.001, longest_wait_s=5.0),
        credentials=ALICE if registry.oddity.credentials else None,
    )
    registry.is_odd = False


def carry(origin: str, goal: str, registry: OddRegistry, verb: str) -> None:
    """Copy *origin* to *goal*, which is called *verb*."""
    with (
        oddly(registry, verb) as access,
        open_origin(Location.parse(origin), access=access) as source,
        open_goal(Location.parse(goal), source, access=access) as target,
    ):
        copy_image(source, target)


def there_and_back(layout: Layout, folder: Path, registry: OddRegistry) -> Layout:
    """Push the image of *layout*, look for its tag, pull it to *folder*, and return that."""
    name = f"{registry.host}/x:v1"
    carry(f"oci:{layout.root}:v1", name, registry, "push")
    with oddly(registry, "list") as access:
        assert "v1" in [*Repository.open(Reference.parse(name), access).tags()]
    carry(name, f"oci:{folder}:v1", registry, "pull")
    return Layout.open(folder)


def attached(layout: Layout) -> tuple[Descriptor, set[str], set[str]]:
    """Return the image of *layout*, its names but those of lists, and the digests of its referrers."""
    image = layout.resolve("v1")
    names = {name for name in layout.names() if name == "v1" or name.endswith(".sig")}
    listed = [*layout.referrers(image.digest)]
    if (listing := layout.names().get(image.digest.replace(":", "-"))) is not None:
        listed += children_of(layout, listing)
    return image, names, {each.digest for each in listed}


@pytest.mark.parametrize("oddity", [*oddities()], ids=lambda oddity: oddity.name)
def test_an_image_survives(layout: Layout, tmp_path: Path, oddity: Oddity) -> None:
    with running(oddity) as (registry, other):
        if oddity.says:
            with pytest.raises(GadgetOpsError) as raised:
                there_and_back(layout, tmp_path / "back", registry)
            said = f"{raised.value}\n{raised.value.hint or ''}"
            for text in oddity.says:
                assert text.replace("{host}", registry.host) in said
            assert ALICE.password not in said
        else:
            back = there_and_back(layout, tmp_path / "back", registry)
            assert attached(back) == attached(layout)
            assert_whole(back)
        assert [each for each in other.requests if "Authorization" in each.headers] == []


def test_behaviours_have_names_of_their_own() -> None:
    names = [oddity.name for oddity in oddities()]
    assert [name for name, found in itertools.groupby(sorted(names)) if len([*found]) > 1] == []
