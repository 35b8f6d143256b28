"""Laws of reading, checking and extending gadget.yaml, for any bytes and any document."""

from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from gadgetops.errors import MetadataError
from gadgetops.gadget.building.cache import Entry
from gadgetops.gadget.documents.document import Document
from gadgetops.gadget.documents.metadata import Metadata
from gadgetops.gadget.documents.yaml_lines import add_keys


def mappings(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(keys, inner, max_size=4)


MINIMAL = (Path(__file__).parents[1] / "data/gadgets/minimal/gadget.yaml").read_bytes()

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=8)
keys = st.sampled_from(["name", "description", "datasources", "params", "a", "b.c", "null", "y"]) | texts
scalars = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | mappings(inner), max_leaves=12)
yaml_like = st.text(st.sampled_from(list("abn:-?{}[],&*!|>'\"%@`#\\ \t\n0~<")), max_size=60)


def read(content: bytes) -> Metadata | MetadataError:
    try:
        return Metadata.from_bytes(content)
    except MetadataError as error:
        return error


class TestAnyBytes:
    """Any bytes are a gadget.yaml or raise `MetadataError`, which names the document."""

    @given(st.binary(max_size=200))
    def test_bytes(self, content: bytes) -> None:
        found = read(content)
        assert found.document.name if isinstance(found, Metadata) else found.document

    @given(yaml_like)
    def test_texts_of_yaml_punctuation(self, text: str) -> None:
        read(text.encode())

    @given(mappings(values), st.booleans())
    def test_documents_of_any_shape(self, value: dict[str, Any], flow: bool) -> None:
        read(yaml.safe_dump(value, allow_unicode=True, default_flow_style=flow).encode())

    @given(st.integers(0, len(MINIMAL) - 1), st.binary(min_size=1, max_size=3))
    def test_a_gadget_yaml_with_other_bytes_in_it(self, position: int, inserted: bytes) -> None:
        read(MINIMAL[:position] + inserted + MINIMAL[position + 1 :])

    def test_a_gadget_yaml_cut_at_every_byte(self) -> None:
        kinds = {type(read(MINIMAL[:end])) for end in range(len(MINIMAL) + 1)}
        assert kinds == {Metadata, MetadataError}

    @given(st.binary(max_size=100))
    def test_cache_entries(self, data: bytes) -> None:
        assert Entry.from_bytes(data) is None


class TestReading:
    """What PyYAML writes is read back as it was."""

    @given(mappings(values), st.booleans())
    def test_written_documents(self, value: dict[str, Any], flow: bool) -> None:
        content = yaml.safe_dump(value, allow_unicode=True, default_flow_style=flow).encode()
        assert Document.from_bytes(content, "doc.yaml").value == value


additions = st.recursive(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=8),
    lambda inner: st.dictionaries(keys, inner, min_size=1, max_size=3),
    max_leaves=6,
).filter(lambda value: isinstance(value, dict))


class TestAdding:
    """Adding keys keeps every character, adds what is missing, and the second time changes nothing."""

    @given(mappings(values), st.booleans(), additions, st.booleans())
    def test_documents(self, value: dict[str, Any], flow: bool, added: dict[str, Any], ended: bool) -> None:
        content = yaml.safe_dump(value, allow_unicode=True, default_flow_style=flow).encode()
        content = content if ended else content.rstrip(b"\n")
        try:
            new = add_keys(content, added, "doc.yaml", first=["name", "description"])
        except MetadataError as error:
            assert error.reason == "it is written in a way that nothing can be added to"
            return
        read_back = Document.from_bytes(new, "doc.yaml").texts
        assert contains(read_back, Document.from_bytes(content, "doc.yaml").texts)
        assert add_keys(new, added, "doc.yaml", first=["name", "description"]) == new

    @given(st.sampled_from(MINIMAL.decode().splitlines(keepends=True)), additions)
    def test_lines_stay_as_they_are(self, left_out: str, added: dict[str, Any]) -> None:
        content = MINIMAL.decode().replace(left_out, "", 1).encode()
        try:
            new = add_keys(content, added, "doc.yaml").decode()
        except MetadataError:
            return
        remaining = iter(new.splitlines())
        assert all(line in remaining for line in content.decode().splitlines())


def contains(new: Any, old: Any) -> bool:
    """Return whether all of *old* that is not empty is in *new*."""
    if isinstance(old, dict) and old:
        return isinstance(new, dict) and all(contains(new.get(key), value) for key, value in old.items())
    return not old or new == old
