"""What differs between two images or objects, and which of it breaks whoever reads the events."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gadgetops.gadget.documents.document import Document

Facts = Mapping[str, Any]
Named = dict[str, Facts]

SIZED_BY_IG: Final = frozenset({"gadget_mntns_filter_map"})
"""Maps that ig puts its own in place of, if all of type, sizes, entries and flags are the same."""

_CONTAINER = "Bytes"
_MAP_SHAPE = ("type", "key_size_bytes", "value_size_bytes")
_MAP_CAPACITY = ("max_entries", "flags")


@dataclass(frozen=True, slots=True)
class Change:
    """
    One difference.

    Attributes:
        kind: `"program"`, `"map"`, `"edge"`, `"datasource"`, `"field"`, `"value"` (of an enum), `"parameter"`
            or `"licence"`.
        name: Of what differs, as it was before; of fields with the datasource's in front.
        change: `"added"`, `"removed"`, `"renamed"` or `"changed"`.
        is_breaking: Whether a consumer that worked with the first may fail with the second.
        details: By property, what it was and what it is; empty for what was added or removed.
    """

    kind: str
    name: str
    change: str
    is_breaking: bool
    details: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return what happened, without kind and name: `"removed"`, `"type: 4 -> 8"`."""
        texts = [
            f"{name}: {_text(before)} -> {_text(after)}" for name, (before, after) in self.details.items()
        ]
        if self.change == "renamed":
            return f"renamed {'; '.join(texts)}"
        return "; ".join(texts) or self.change


def as_run(found: Facts, metadata: bytes) -> Facts:
    """
    Return *found*, of `inspect.facts`, with the flags and defaults that its parameters have when ig runs it.

    Args:
        found: What the object says.
        metadata: The image's gadget.yaml, which has the last word; nothing, or `{}`, if it has none.

    Raises:
        MetadataError: *metadata* is no YAML mapping.
    """
    texts = Document.from_bytes(metadata or b"{}", f"{found['name']}: gadget.yaml", may_be_empty=True).texts
    told = _mapping(_mapping(texts.get("params")).get("ebpf"))
    return {
        **found,
        "parameters": [_as_run(each, _mapping(told.get(each["variable"]))) for each in found["parameters"]],
    }


def _as_run(parameter: Facts, told: Facts) -> Facts:
    default = parameter["default"]
    by_object = (
        None if default is None else str(default).lower() if isinstance(default, bool) else str(default)
    )
    return {
        **parameter,
        "key": told.get("key") or parameter["key"],
        "default": told.get("defaultValue") or by_object,
    }


def _mapping(value: Any) -> Facts:
    return value if isinstance(value, Mapping) else {}


def compare(before: Facts, after: Facts) -> list[Change]:
    """
    Return what differs from *before* to *after*, both as `inspect.facts` or `as_run` gives them.

    Sorted by kind in the order of `Change.kind` (a field's values after it), then by name.

    Breaking is: a program, map, datasource, field, value or parameter that is gone or has another name; a
    program that is attached elsewhere; a map of another type or other sizes; a field or parameter of another
    kind, or with another of ig's own types; a shorter text; a value with another number; a parameter's other
    default, by which whoever does not set it gets other events. What was added, where a field lies in its
    struct, capacities and edges break nobody, but for the map that ig replaces by its own.
    """
    return [
        *_listed("program", before["programs"], after["programs"], _program),
        *_listed("map", before["maps"], after["maps"], _map),
        *_edges(before["edges"], after["edges"]),
        *_datasources(before["datasources"], after["datasources"]),
        *_parameters(before["parameters"], after["parameters"]),
        *_changed("licence", "licence", before, after, ["license"], is_breaking=False),
    ]


def _listed(
    kind: str, before: Sequence[Facts], after: Sequence[Facts], differences: Callable[..., Iterator[Change]]
) -> Iterator[Change]:
    """Yield what was added to or removed from a list of named things, and how the others differ."""
    old, new = _by_name(before), _by_name(after)
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            yield Change(kind, name, "removed", is_breaking=True)
        elif name not in old:
            yield Change(kind, name, "added", is_breaking=False)
        else:
            yield from differences(name, old[name], new[name])


def _by_name(found: Sequence[Facts], key: str = "name") -> Named:
    return {each[key]: each for each in found}


def _changed(
    kind: str, name: str, before: Facts, after: Facts, properties: Sequence[str], *, is_breaking: bool
) -> Iterator[Change]:
    details = {each: (before[each], after[each]) for each in properties if before[each] != after[each]}
    if details:
        yield Change(kind, name, "changed", is_breaking, details)


def _program(name: str, before: Facts, after: Facts) -> Iterator[Change]:
    yield from _changed("program", name, before, after, ["section"], is_breaking=True)


def _map(name: str, before: Facts, after: Facts) -> Iterator[Change]:
    yield from _changed("map", name, before, after, _MAP_SHAPE, is_breaking=True)
    yield from _changed("map", name, before, after, _MAP_CAPACITY, is_breaking=name in SIZED_BY_IG)


def _edges(before: Sequence[Facts], after: Sequence[Facts]) -> Iterator[Change]:
    old, new = (
        {f"{each['program']} {each['verb']} {each['map']}" for each in edges} for edges in (before, after)
    )
    for name in sorted(old ^ new):
        yield Change("edge", name, "removed" if name in old else "added", is_breaking=False)


def _datasources(before: Sequence[Facts], after: Sequence[Facts]) -> Iterator[Change]:
    yield from _listed("datasource", before, after, _datasource)
    old, new = _by_name(before), _by_name(after)
    for name in sorted(old.keys() & new.keys()):
        yield from _fields(name, _by_name(old[name]["fields"]), _by_name(new[name]["fields"]))


def _datasource(name: str, before: Facts, after: Facts) -> Iterator[Change]:
    yield from _changed("datasource", name, before, after, ["kind"], is_breaking=True)


def _fields(datasource: str, before: Named, after: Named) -> Iterator[Change]:
    renamed = _renamed(before, after, ("offset_bytes", "size_bytes", "kind"))
    for name in sorted((before.keys() | after.keys()) - set(renamed.values())):
        full = f"{datasource}.{name}"
        if name in renamed:
            details = {"field": (name, renamed[name])}
            yield Change("field", full, "renamed", is_breaking=True, details=details)
        elif name not in after:
            yield Change("field", full, "removed", is_breaking=True)
        elif name not in before:
            yield Change("field", full, "added", is_breaking=False)
        else:
            yield from _field(full, before[name], after[name])


def _field(name: str, before: Facts, after: Facts) -> Iterator[Change]:
    old, new = ({**each, "meaning": _meaning(each)} for each in (before, after))
    yield from _changed("field", name, old, new, ["kind", "meaning"], is_breaking=True)
    if before["kind"] == after["kind"] != _CONTAINER:
        is_shorter = after["size_bytes"] < before["size_bytes"]
        yield from _changed("field", name, old, new, ["size_bytes"], is_breaking=is_shorter)
    yield from _values(name, before.get("values", {}), after.get("values", {}))


def _meaning(found: Facts) -> str | None:
    """Return the type of ig's own, such as `gadget_errno`, that decides how a field is shown."""
    return next((name for name in found["type_names"] if name.startswith("gadget_")), None)


def _values(name: str, before: Mapping[str, int], after: Mapping[str, int]) -> Iterator[Change]:
    for value in sorted(before.keys() | after.keys()):
        full = f"{name}={value}"
        if value not in after:
            yield Change("value", full, "removed", is_breaking=True)
        elif value not in before:
            yield Change("value", full, "added", is_breaking=False)
        elif before[value] != after[value]:
            details = {"number": (before[value], after[value])}
            yield Change("value", full, "changed", is_breaking=True, details=details)


def _parameters(before: Sequence[Facts], after: Sequence[Facts]) -> Iterator[Change]:
    old, new = _by_name(before, "key"), _by_name(after, "key")
    renamed = _renamed(old, new, ("variable", "kind"))
    for key in sorted((old.keys() | new.keys()) - set(renamed.values())):
        if key in renamed:
            details = {"parameter": (key, renamed[key])}
            yield Change("parameter", key, "renamed", is_breaking=True, details=details)
        elif key not in new:
            yield Change("parameter", key, "removed", is_breaking=True)
        elif key not in old:
            yield Change("parameter", key, "added", is_breaking=False)
        else:
            yield from _changed("parameter", key, old[key], new[key], ["kind"], is_breaking=True)
            yield from _changed("parameter", key, old[key], new[key], ["default"], is_breaking=True)


def _renamed(before: Named, after: Named, properties: Sequence[str]) -> dict[str, str]:
    """Return the new name, by old name, of what is gone where something new has the same *properties*."""
    gone = {name: [before[name][each] for each in properties] for name in before.keys() - after.keys()}
    come = {name: [after[name][each] for each in properties] for name in after.keys() - before.keys()}
    found = {old: [new for new in come if come[new] == shape] for old, shape in gone.items()}
    alone = {old: new[0] for old, new in found.items() if len(new) == 1}
    return {old: new for old, new in alone.items() if [*alone.values()].count(new) == 1}


def _text(value: Any) -> str:
    return "none" if value is None else str(value)
