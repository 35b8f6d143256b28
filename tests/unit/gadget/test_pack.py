"""The image: ig's members, in ig's order, with ig's annotations."""

import json

import pytest

from gadgetops.gadget.building.created import Created
from gadgetops.gadget.building.pack import Packed, pack
from gadgetops.gadget.documents.metadata import Metadata
from gadgetops.oci.content import digest_of

METADATA = b"""name: minimal
description: <a> & b
homepageURL: https://example.org/
annotations:
  org.opencontainers.image.url: overridden
  org.opencontainers.image.created: not overridden
  org.example.tier: 0x10
"""
CREATED = Created(1_700_000_000, "test")


def packed(**changes: object) -> Packed:
    arguments = {
        "objects": {"arm64": b"arm", "amd64": b"amd"},
        "metadata": Metadata.from_bytes(METADATA),
        "wasm": None,
        "created": CREATED,
    }
    return pack(**(arguments | changes))


def documents(image: Packed) -> dict[str, dict]:
    """Return the JSON documents of *image* by digest."""
    return {
        found.digest: json.loads(data) for found, data in image.contents if found.media_type.endswith("json")
    }


def test_the_digest_of_an_image_never_changes() -> None:
    """If this fails, every image that was built before gets another digest: is that meant?"""
    assert packed().index.digest == "sha256:98173ac7727c1bdda4a709503b486836edda45c881bd478810bda0b757879cbc"


def test_what_is_referred_to_comes_before_what_refers_to_it() -> None:
    seen: set[str] = set()
    image = packed(wasm=b"\0asm")
    for descriptor, data in image.contents:
        descriptor.check(data)
        if descriptor.media_type.endswith("json"):
            document = json.loads(data)
            parts = document.get("manifests") or [document["config"], *document["layers"]]
            assert {part["digest"] for part in parts} <= seen
        seen.add(descriptor.digest)
    assert image.contents[-1][0] == image.index


def test_index_and_manifests_have_the_members_of_ig_in_its_order() -> None:
    image = packed(wasm=b"\0asm")
    found = documents(image)
    index = found[image.index.digest]
    assert list(index) == ["schemaVersion", "mediaType", "manifests", "annotations"]
    assert [entry["platform"] for entry in index["manifests"]] == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm64", "os": "linux"},
    ]
    for entry in index["manifests"]:
        assert list(entry) == ["mediaType", "digest", "size", "annotations", "platform"]
        manifest = found[entry["digest"]]
        assert list(manifest) == ["schemaVersion", "artifactType", "config", "layers", "annotations"]
        assert manifest["artifactType"] == "application/vnd.gadget.v1+binary"
        assert manifest["config"]["mediaType"] == "application/vnd.gadget.config.v1+yaml"
        assert manifest["config"]["digest"] == digest_of(METADATA)
        assert [layer["mediaType"] for layer in manifest["layers"]] == [
            "application/vnd.gadget.ebpf.program.v1+binary",
            "application/vnd.gadget.wasm.program.v1+binary",
        ]


def test_all_levels_have_the_same_annotations() -> None:
    image = packed()
    expected = {
        "io.inspektor-gadget.builder.version": "v0.55.1",
        "org.example.tier": "0x10",
        "org.opencontainers.image.created": "2023-11-14T22:13:20Z",
        "org.opencontainers.image.description": "<a> & b",
        "org.opencontainers.image.documentation": "",
        "org.opencontainers.image.source": "",
        "org.opencontainers.image.title": "minimal",
        "org.opencontainers.image.url": "overridden",
    }
    found = documents(image)
    index = found[image.index.digest]
    assert image.index.annotations == expected
    assert index["annotations"] == expected
    for entry in index["manifests"]:
        assert entry["annotations"] == found[entry["digest"]]["annotations"] == expected
        assert found[entry["digest"]]["config"]["annotations"] == expected


def test_without_metadata_the_config_is_empty_and_only_the_time_is_said() -> None:
    image = packed(metadata=None, objects={"amd64": b"amd"})
    (manifest,) = (found for found in documents(image).values() if "layers" in found)
    annotations = {"org.opencontainers.image.created": "2023-11-14T22:13:20Z"}
    assert manifest["annotations"] == annotations
    assert manifest["config"] == {
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": digest_of(b"{}"),
        "size": 2,
        "annotations": annotations,
        "data": "e30=",
    }


@pytest.mark.parametrize("wasm", [None, b"\0asm"])
def test_a_gadget_without_programs_has_no_object_layer(wasm: bytes | None) -> None:
    image = packed(objects={"amd64": None}, wasm=wasm)
    (manifest,) = (found for found in documents(image).values() if "layers" in found)
    assert len(manifest["layers"]) == (wasm is not None)
