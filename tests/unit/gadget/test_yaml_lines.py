"""Keys added to a YAML text: nothing that was there moves."""

import pytest

from gadgetops.errors import MetadataError
from gadgetops.gadget.documents.yaml_lines import add_keys

CASES = {
    "nothing there": ("", {"a": {"b": "x: v"}}, "a:\n  b: 'x: v'\n"),
    "an empty mapping": ("{}\n", {"a": "b", "c": {"d": "e"}}, "{a: b, c: {d: e}}\n"),
    "comments alone": ("# c", {"a": "b"}, "# c\na: b\n"),
    "an outermost key": ("a: 1\n", {"b": "x"}, "a: 1\nb: x\n"),
    "no newline at the end": ("a: 1", {"b": "x"}, "a: 1\nb: x\n"),
    "line endings of Windows": ("a: 1\r\n", {"b": {"c": "x"}}, "a: 1\r\nb:\r\n  c: x\r\n"),
    "into a mapping, before what follows": (
        "a:  # why\n    b: 1  # one\n\n# about c\nc: 2\n",
        {"a": {"x": {"v": "z"}}},
        "a:  # why\n    b: 1  # one\n    x:\n        v: z\n\n# about c\nc: 2\n",
    ),
    "into several levels that end together": (
        "a:\n  b:\n    c: 1\n",
        {"a": {"b": {"x": "1st"}, "v": "2nd"}, "z": "3rd"},
        "a:\n  b:\n    c: 1\n    x: '1st'\n  v: '2nd'\nz: '3rd'\n",
    ),
    "into an empty mapping": ("a: {}  # none\nb: 1\n", {"a": {"x": "v"}}, "a:   # none\n  x: v\nb: 1\n"),
    "into nothing": ("a:  # none\nb: 1\n", {"a": {"x": "v"}}, "a:  # none\n  x: v\nb: 1\n"),
    "into null": ("a: ~\n", {"a": {"x": "v"}}, "a: \n  x: v\n"),
    "into a flow mapping": ("a: {b: 1}\n", {"a": {"x": {"v": "z"}}}, "a: {b: 1, x: {v: z}}\n"),
    "into empty places of a flow mapping": (
        "{a: {}, b: , c: ''}\n",
        {"a": {"x": "v"}, "b": {"x": "v"}, "c": "z"},
        "{a: {x: v}, b: {x: v} , c: z}\n",
    ),
    "in place of empty texts": (
        "a:\nb: ''\nc: null # n\n",
        {"a": "x", "b": "v", "c": "z"},
        "a: x\nb: v\nc: z # n\n",
    ),
    "after a block of text": (
        "a:\n  b: |\n    x\n\n# c\n",
        {"a": {"v": "z"}},
        "a:\n  b: |\n    x\n\n  v: z\n# c\n",
    ),
    "after a list": (
        "a:\n  b:\n  - 1\n  - c: 2\nd: 3\n",
        {"a": {"v": "z"}},
        "a:\n  b:\n  - 1\n  - c: 2\n  v: z\nd: 3\n",
    ),
    "after lines that continue": (
        "a:\n  b: 1\n    2\nc: 3\n",
        {"a": {"v": "z"}},
        "a:\n  b: 1\n    2\n  v: z\nc: 3\n",
    ),
    "keys that stand first": (
        "# c\nz: 1\n",
        {"q": "1st", "b": "2nd", "a": "3rd"},
        "# c\na: '3rd'\nb: '2nd'\nz: 1\nq: '1st'\n",
    ),
    "first keys after first keys": ("a: 1\nz: 1\n", {"b": "x"}, "a: 1\nb: x\nz: 1\n"),
    "before the end of the document": ("a: 1\n...\n# end\n", {"v": "z"}, "a: 1\nv: z\n...\n# end\n"),
    "an alias at the end": ("a: &x {b: 1}\nc: *x\n", {"v": "z"}, "a: &x {b: 1}\nc: *x\nv: z\n"),
    "keys and texts that need quotes": (
        "",
        {"null": "it's", "yes": "", "a b": "1", 'q"\n': "true"},
        "\"null\": 'it''s'\n\"yes\": ''\n\"a b\": '1'\n\"q\\\"\\n\": 'true'\n",
    ),
    "values that are there": (
        "a: 1\nb: {c: 2}\nd: [3]\n",
        {"a": "x", "b": {"c": "x"}, "d": "x"},
        "a: 1\nb: {c: 2}\nd: [3]\n",
    ),
}


@pytest.mark.parametrize(("old", "additions", "new"), CASES.values(), ids=CASES)
def test_lines_are_inserted_where_they_belong(old: str, additions: dict, new: str) -> None:
    assert add_keys(old.encode(), additions, "doc.yaml", first=["a", "b"]).decode() == new


@pytest.mark.parametrize(
    "text",
    [
        "a: &x {b: 1}\nc: *x\n",  # what is added to c would be added to a
        "a: {b: 1,}\nc: {b: 1}\n",  # a comma too many
        "null\n",
    ],
)
def test_what_cannot_be_added_to_is_refused_with_what_to_add(text: str) -> None:
    with pytest.raises(MetadataError) as caught:
        add_keys(text.encode(), {"a": {"x": "v"}, "c": {"x": "z"}}, "doc.yaml")
    assert caught.value.reason == "it is written in a way that nothing can be added to"
    assert caught.value.hint == "add by hand: {a: {x: v}, c: {x: z}}"
