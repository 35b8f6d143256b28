"""Locations: what people type for the places of images."""

from pathlib import Path

import pytest

from gadgetops.errors import InvalidReference, UsageError
from gadgetops.oci.location import Location, Place
from gadgetops.oci.reference import Reference

DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b/c:1", Location(Place.REGISTRY, Reference.parse("a.b/c:1"))),
        ("registry:a.b/c:1", Location(Place.REGISTRY, Reference.parse("a.b/c:1"))),
        ("registry:oci:1", Location(Place.REGISTRY, Reference.parse("oci:1"))),
        ("store:c", Location(Place.STORE, Reference.parse("c"))),
        (f"store:{DIGEST}", Location(Place.STORE, DIGEST)),
        ("localhost:5000/c", Location(Place.REGISTRY, Reference.parse("localhost:5000/c"))),
        ("oci:folder", Location(Place.FOLDER, None, Path("folder"))),
        ("oci:/a/folder:v1", Location(Place.FOLDER, "v1", Path("/a/folder"))),
        ("archive:x.tar:localhost:5000/c:1", Location(Place.ARCHIVE, "localhost:5000/c:1", Path("x.tar"))),
        ("archive:x.tar:", Location(Place.ARCHIVE, None, Path("x.tar"))),
    ],
)
def test_the_prefix_says_the_place(text: str, expected: Location) -> None:
    assert Location.parse(text) == expected
    assert Location.parse(str(expected)) == expected


@pytest.mark.parametrize("text", ["oci:", "archive:", "oci::v1"])
def test_a_path_may_not_be_missing(text: str) -> None:
    with pytest.raises(UsageError, match="names no file or folder"):
        Location.parse(text)


@pytest.mark.parametrize("text", ["", "store:", "store:A B", "docker://a.b/c"])
def test_a_reference_has_to_be_one(text: str) -> None:
    with pytest.raises(InvalidReference):
        Location.parse(text)
