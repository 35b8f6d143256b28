"""Extra infos are printed as `ig image inspect` prints them."""

from typing import Any

import pytest

from gadgetops.errors import MetadataError, UsageError
from gadgetops.gadget.reading import extra_info
from gadgetops.gadget.reading.extra_info import ExtraInfo
from gadgetops.gadget.reading.show import follow, show, show_all

LIST = ExtraInfo("ebpf.maps", extra_info.JSON, lambda: '[{"Type":"Hash","Name":"<a>"}]')
TEXT = ExtraInfo("ebpf.flowchart", extra_info.MERMAID, lambda: "flowchart LR\n")
METADATA = ExtraInfo("oci.metadata", extra_info.YAML, lambda: "name: x\nhidden: yes\n")


def test_json_is_written_anew_with_keys_sorted() -> None:
    """With Go's escapes; pretty by two spaces."""
    assert show(LIST, "json") == '[{"Name":"\\u003ca\\u003e","Type":"Hash"}]\n'
    assert show(LIST, "jsonpretty") == (
        '[\n  {\n    "Name": "\\u003ca\\u003e",\n    "Type": "Hash"\n  }\n]\n'
    )
    assert show(LIST, "yaml") == "- Name: <a>\n  Type: Hash\n"


@pytest.mark.parametrize("mode", ["jsonpretty", "json", "yaml"])
def test_text_is_followed_by_a_line_feed(mode: Any) -> None:
    """So that a diagram ends with an empty line."""
    assert show(TEXT, mode) == "flowchart LR\n\n"


def test_metadata_becomes_json() -> None:
    """Scalars are typed."""
    assert show(METADATA, "json") == '{"hidden":true,"name":"x"}\n'


def test_all_of_them_are_one_document() -> None:
    """Content as text, with its type."""
    assert show_all([TEXT], "json") == (
        '{"ebpf.flowchart":{"content":"flowchart LR\\n","contentType":"text/mermaid"}}\n'
    )


VALUE = {"a": [{"b": 1}, {"b": 2}], "key with spaces": {"c": "text"}}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("", VALUE),
        ("$", VALUE),
        (".a[1].b", 2),
        ("$.a[0]", {"b": 1}),
        (".a[*].b", [1, 2]),
        ('["key with spaces"].c', "text"),
        ("['key with spaces']['c']", "text"),
        ("[*]", [[{"b": 1}, {"b": 2}], {"c": "text"}]),
    ],
)
def test_paths_lead_to_parts(path: str, found: Any) -> None:
    """By names, positions, and all of them."""
    assert follow(VALUE, path) == found


@pytest.mark.parametrize("path", [".x", "[0]", ".a[2]", ".a.b", ".a[0].b[*]", "a", ".a[?(@.b)]", "..b"])
def test_paths_that_lead_nowhere_are_refused(path: str) -> None:
    """And those that are more than is understood here."""
    with pytest.raises(UsageError, match="path "):
        follow(VALUE, path)


def test_text_has_no_parts() -> None:
    """A part that is text is printed as it is."""
    with pytest.raises(UsageError, match="a path leads only into JSON and YAML"):
        show(TEXT, "json", ".a")
    assert show(LIST, "json", "[0].Name") == "<a>\n"


def test_metadata_that_is_no_mapping_is_refused() -> None:
    """With the name of the extra info."""
    info = ExtraInfo("oci.metadata", extra_info.YAML, lambda: "- a")
    with pytest.raises(MetadataError, match=r"oci\.metadata: expected a mapping"):
        show(info, "json")
