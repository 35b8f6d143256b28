"""Comparing two images: each kind of difference is found, and judged by whom it breaks."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from gadgetops.gadget.reading.compare import as_run, compare

FIELDS = [
    {
        "name": "time",
        "offset_bytes": 0,
        "size_bytes": 8,
        "kind": "Uint64",
        "type_names": ["gadget_timestamp", "__u64"],
    },
    {
        "name": "op_raw",
        "offset_bytes": 8,
        "size_bytes": 4,
        "kind": "Uint32",
        "type_names": ["op"],
        "values": {"a": 0},
    },
    {"name": "comm", "offset_bytes": 12, "size_bytes": 16, "kind": "CString", "type_names": ["char"]},
    {"name": "proc", "offset_bytes": 28, "size_bytes": 8, "kind": "Bytes", "type_names": ["proc"]},
]
FACTS: dict[str, Any] = {
    "license": "GPL",
    "programs": [{"name": "trace_free", "section": "uprobe/libc:free", "n_instructions": 9}],
    "maps": [
        {
            "name": name,
            "type": "hash",
            "key_size_bytes": 8,
            "value_size_bytes": 4,
            "max_entries": 1024,
            "flags": 0,
        }
        for name in ("gadget_mntns_filter_map", "sizes")
    ],
    "edges": [{"program": "trace_free", "verb": "Lookup", "map": "sizes"}],
    "datasources": [
        {
            "name": "frees",
            "kind": "tracer",
            "map": "events",
            "struct": "event",
            "size_bytes": 36,
            "fields": FIELDS,
        }
    ],
    "parameters": [{"key": "min-size", "variable": "min_size", "kind": "uint64", "default": 1}],
}


def changes(edit: Callable[[dict[str, Any]], Any]) -> list[tuple[str, str, str, bool]]:
    """Return kind, name, text and impact of what *edit* does to the facts."""
    after = copy.deepcopy(FACTS)
    edit(after)
    return [(each.kind, each.name, str(each), each.is_breaking) for each in compare(FACTS, after)]


def field(facts: dict[str, Any], position: int) -> dict[str, Any]:
    """Return a field of the facts, to be edited."""
    found: dict[str, Any] = facts["datasources"][0]["fields"][position]
    return found


EDITS = {
    "nothing": (lambda f: None, []),
    "more instructions": (lambda f: f["programs"][0].update(n_instructions=10), []),
    "a program is gone": (lambda f: f["programs"].clear(), [("program", "trace_free", "removed", True)]),
    "a program is new": (
        lambda f: f["programs"].append({"name": "new", "section": "x", "n_instructions": 1}),
        [("program", "new", "added", False)],
    ),
    "a program attaches elsewhere": (
        lambda f: f["programs"][0].update(section="uprobe/libc:cfree"),
        [("program", "trace_free", "section: uprobe/libc:free -> uprobe/libc:cfree", True)],
    ),
    "a map is gone": (lambda f: f["maps"].pop(), [("map", "sizes", "removed", True)]),
    "a map of other values": (
        lambda f: f["maps"][1].update(value_size_bytes=8),
        [("map", "sizes", "value_size_bytes: 4 -> 8", True)],
    ),
    "a larger map": (
        lambda f: f["maps"][1].update(max_entries=2048),
        [("map", "sizes", "max_entries: 1024 -> 2048", False)],
    ),
    "a larger filter, which ig then leaves empty": (
        lambda f: f["maps"][0].update(max_entries=2048),
        [("map", "gadget_mntns_filter_map", "max_entries: 1024 -> 2048", True)],
    ),
    "an edge more": (
        lambda f: f["edges"].append({"program": "trace_free", "verb": "Delete", "map": "sizes"}),
        [("edge", "trace_free Delete sizes", "added", False)],
    ),
    "an edge less": (lambda f: f["edges"].clear(), [("edge", "trace_free Lookup sizes", "removed", False)]),
    "a datasource is gone": (lambda f: f["datasources"].clear(), [("datasource", "frees", "removed", True)]),
    "a datasource of another kind": (
        lambda f: f["datasources"][0].update(kind="iter"),
        [("datasource", "frees", "kind: tracer -> iter", True)],
    ),
    "a field is gone": (
        lambda f: f["datasources"][0]["fields"].pop(2),
        [("field", "frees.comm", "removed", True)],
    ),
    "a field is new": (
        lambda f: f["datasources"][0]["fields"].append({**FIELDS[2], "name": "new", "offset_bytes": 99}),
        [("field", "frees.new", "added", False)],
    ),
    "a field has another name": (
        lambda f: field(f, 2).update(name="command"),
        [("field", "frees.comm", "renamed field: comm -> command", True)],
    ),
    "a field lies elsewhere": (lambda f: field(f, 2).update(offset_bytes=64), []),
    "a field of another kind": (
        lambda f: field(f, 0).update(kind="Uint32", size_bytes=4),
        [("field", "frees.time", "kind: Uint64 -> Uint32", True)],
    ),
    "a field is no time any more": (
        lambda f: field(f, 0).update(type_names=["__u64"]),
        [("field", "frees.time", "meaning: gadget_timestamp -> none", True)],
    ),
    "a longer text": (
        lambda f: field(f, 2).update(size_bytes=32),
        [("field", "frees.comm", "size_bytes: 16 -> 32", False)],
    ),
    "a shorter text": (
        lambda f: field(f, 2).update(size_bytes=8),
        [("field", "frees.comm", "size_bytes: 16 -> 8", True)],
    ),
    "a larger container": (lambda f: field(f, 3).update(size_bytes=32), []),
    "a value more": (
        lambda f: field(f, 1)["values"].update(b=1),
        [("value", "frees.op_raw=b", "added", False)],
    ),
    "a value less": (lambda f: field(f, 1)["values"].clear(), [("value", "frees.op_raw=a", "removed", True)]),
    "a value of another number": (
        lambda f: field(f, 1)["values"].update(a=7),
        [("value", "frees.op_raw=a", "number: 0 -> 7", True)],
    ),
    "a parameter is gone": (lambda f: f["parameters"].clear(), [("parameter", "min-size", "removed", True)]),
    "a parameter has another name": (
        lambda f: f["parameters"][0].update(key="at-least"),
        [("parameter", "min-size", "renamed parameter: min-size -> at-least", True)],
    ),
    "a parameter of another kind": (
        lambda f: f["parameters"][0].update(kind="bool"),
        [("parameter", "min-size", "kind: uint64 -> bool", True)],
    ),
    "another default": (
        lambda f: f["parameters"][0].update(default=None),
        [("parameter", "min-size", "default: 1 -> none", True)],
    ),
    "another licence": (
        lambda f: f.update(license="Dual BSD/GPL"),
        [("licence", "licence", "license: GPL -> Dual BSD/GPL", False)],
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_each_difference_is_told_and_judged(edit: str) -> None:
    """What was done is what is found, and nothing else."""
    change, expected = EDITS[edit]
    assert changes(change) == expected


def test_two_candidates_are_no_rename() -> None:
    """Where it is not certain which field took the place, one is gone and others are new."""

    def edit(facts: dict[str, Any]) -> None:
        comm = facts["datasources"][0]["fields"].pop(2)
        facts["datasources"][0]["fields"] += [{**comm, "name": "one"}, {**comm, "name": "two"}]

    assert [(each[1], each[2]) for each in changes(edit)] == [
        ("frees.comm", "removed"),
        ("frees.one", "added"),
        ("frees.two", "added"),
    ]


def as_run_with(metadata: str) -> tuple[str, str | None]:
    """Return the flag and the default of the parameter when gadget.yaml says *metadata*."""
    (found,) = as_run({**FACTS, "name": "x"}, metadata.encode())["parameters"]
    return found["key"], found["default"]


def test_gadget_yaml_has_the_last_word_on_flags_and_defaults() -> None:
    """As when ig runs the image: another key there is another flag, whatever the object says."""
    assert as_run_with("") == ("min-size", "1")
    assert as_run_with("params: {ebpf: {min_size: {key: at-least}}}") == ("at-least", "1")
    assert as_run_with("params: {ebpf: {min_size: {defaultValue: 7}}}") == ("min-size", "7")
    assert as_run_with("params: {ebpf: [1]}") == ("min-size", "1")
