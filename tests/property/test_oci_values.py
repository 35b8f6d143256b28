"""Laws of references, descriptors, manifests and indexes, for any value and any bytes."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gadgetops.errors import ContentError, InvalidReference
from gadgetops.oci.content import DIGEST_LENGTHS, Descriptor, Index, Manifest, Platform, digest_of
from gadgetops.oci.layout.index_file import IndexFile
from gadgetops.oci.reference import Reference

# Text as UTF-8 can hold it.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
FULL_TEXT = TEXT.filter(bool)

DIGESTS = st.builds(digest_of, st.binary(max_size=4), st.sampled_from(sorted(DIGEST_LENGTHS)))
HOSTS = st.from_regex(
    r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,5}[a-zA-Z0-9])?(\.[a-z0-9]{1,5}){1,2}(:[0-9]{1,5})?", fullmatch=True
)
REGISTRIES = HOSTS | st.sampled_from(["localhost", "ghcr.io", "docker.io", "index.docker.io", "[::1]:5000"])
COMPONENTS = st.from_regex(r"[a-z0-9]{1,5}((\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}", fullmatch=True)
TAGS = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}", fullmatch=True)


@st.composite
def reference_texts(draw: st.DrawFn) -> str:
    """References as people type them: short, long, with or without tag and digest."""
    registry = draw(st.none() | REGISTRIES)
    text = "/".join(draw(st.lists(COMPONENTS, min_size=1, max_size=3)))
    text = text if registry is None else f"{registry}/{text}"
    if draw(st.booleans()):
        text += f":{draw(TAGS)}"
    if draw(st.booleans()):
        text += f"@{draw(DIGESTS)}"
    return text


ANNOTATIONS = st.dictionaries(TEXT, TEXT, max_size=3)
PLATFORMS = st.builds(Platform, FULL_TEXT, FULL_TEXT, st.none() | FULL_TEXT)
DESCRIPTORS = st.builds(
    Descriptor,
    media_type=FULL_TEXT,
    digest=DIGESTS,
    size_bytes=st.integers(0, 2**63 - 1),
    annotations=ANNOTATIONS,
    platform=st.none() | PLATFORMS,
    artifact_type=st.none() | FULL_TEXT,
    data=st.none() | st.binary(min_size=1, max_size=8),
    extra=st.dictionaries(TEXT.map("x-{}".format), st.integers() | TEXT, max_size=2),
)
MANIFESTS = st.builds(
    Manifest,
    config=DESCRIPTORS,
    layers=st.lists(DESCRIPTORS, max_size=3).map(tuple),
    artifact_type=st.none() | FULL_TEXT,
    subject=st.none() | DESCRIPTORS,
    annotations=ANNOTATIONS,
)
INDEXES = st.builds(
    Index,
    manifests=st.lists(DESCRIPTORS, max_size=3).map(tuple),
    artifact_type=st.none() | FULL_TEXT,
    subject=st.none() | DESCRIPTORS,
    annotations=ANNOTATIONS,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


class TestReference:
    """`parse(str(ref)) == ref`, and what is no reference is `InvalidReference`."""

    @given(reference_texts())
    def test_canonical_text_means_the_same(self, text: str) -> None:
        """Completing what is complete changes nothing."""
        reference = Reference.parse(text)
        assert Reference.parse(str(reference)) == reference
        assert str(Reference.parse(str(reference))) == str(reference)

    @given(reference_texts())
    def test_a_reference_has_tag_or_digest(self, text: str) -> None:
        """And a tag is only made up where there is no digest."""
        reference = Reference.parse(text)
        assert reference.tag or reference.digest
        assert ("@" in text) == (reference.digest is not None)

    @given(TEXT | st.text(st.sampled_from("aA0.:/@_-[] \n"), max_size=20))
    def test_any_text_is_a_reference_or_invalid(self, text: str) -> None:
        """No other exception, and what is accepted obeys the law."""
        try:
            reference = Reference.parse(text)
        except InvalidReference as error:
            assert error.reason
        else:
            assert Reference.parse(str(reference)) == reference


class TestDocuments:
    """`from_bytes(to_bytes(x)) == x` and `to_bytes(from_bytes(b)) == b` for what we wrote."""

    @given(DESCRIPTORS)
    def test_descriptor(self, descriptor: Descriptor) -> None:
        """Through JSON and back."""
        assert Descriptor.from_json(json.loads(json.dumps(descriptor.to_json()))) == descriptor

    @given(MANIFESTS)
    def test_manifest(self, manifest: Manifest) -> None:
        """Value and bytes are stable."""
        data = manifest.to_bytes()
        assert Manifest.from_bytes(data) == manifest
        assert Manifest.from_bytes(data).to_bytes() == data

    @given(INDEXES)
    def test_index(self, index: Index) -> None:
        """Value and bytes are stable."""
        data = index.to_bytes()
        assert Index.from_bytes(data) == index
        assert Index.from_bytes(data).to_bytes() == data


class TestAnyBytes:
    """Any bytes are a value or a `ContentError`, never another exception."""

    @staticmethod
    def read_all(data: bytes) -> None:
        """Read *data* as every kind of document there is; what is accepted can be written."""
        for read in (Manifest.from_bytes, Index.from_bytes, lambda data: IndexFile.from_bytes(data, "x")):
            try:
                document = read(data)
            except ContentError:
                continue
            document.to_bytes()

    @given(st.binary(max_size=40))
    def test_noise(self, data: bytes) -> None:
        """Random bytes."""
        self.read_all(data)

    @given(MANIFESTS | INDEXES, st.data())
    def test_cut(self, document: Manifest | Index, data: st.DataObject) -> None:
        """A document cut short."""
        whole = document.to_bytes()
        self.read_all(whole[: data.draw(st.integers(0, len(whole)))])

    @given(MANIFESTS | INDEXES, st.data())
    def test_other_bytes_in_the_middle(self, document: Manifest | Index, data: st.DataObject) -> None:
        """A document with a few bytes replaced."""
        whole = document.to_bytes()
        start = data.draw(st.integers(0, len(whole)))
        self.read_all(whole[:start] + data.draw(st.binary(max_size=4)) + whole[start + 2 :])

    @given(MANIFESTS | INDEXES, JSON, st.data())
    def test_other_values_in_the_tree(
        self, document: Manifest | Index, value: Any, data: st.DataObject
    ) -> None:
        """Well-formed JSON with any value in any place."""
        tree = json.loads(document.to_bytes())
        node = tree
        while isinstance(node, (dict, list)) and node:
            key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
            if data.draw(st.booleans()):
                node[key] = value
                break
            node = node[key]
        self.read_all(json.dumps(tree).encode())
