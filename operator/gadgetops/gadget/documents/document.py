"""
YAML documents written by people, read with care: bounded in size, depth and expansion, no duplicate keys.

Scalars follow YAML 1.2's core schema for null, booleans and decimal integers, and are text otherwise: `yes`,
`0x10` and `1.5` stay as written, which is what ig makes of them wherever it wants text.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from gadgetops.errors import MetadataError, StorageError

MAX_SIZE_BYTES: Final = 256 * 1024
"""A gadget.yaml of fifty fields has about 10 KiB."""

MAX_NODES: Final = 50_000
"""Values after all aliases are expanded; a few nested aliases could otherwise stand for billions."""

MAX_DEPTH: Final = 32

Keys = tuple[str, ...]
"""A place in a document: the keys, and positions in lists, that lead there."""

_CORE: Final = "tag:yaml.org,2002:"
NULL_TAG: Final = f"{_CORE}null"
_CORE_SCALARS: Final = (
    ("null", re.compile(r"|~|null|Null|NULL")),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE")),
    # More digits than any 64-bit number has are text: no setting wants them, and int() is quadratic.
    ("int", re.compile(r"[-+]?[0-9]{1,20}")),
    ("merge", re.compile(r"<<")),
)
_PLAIN_TAGS: Final = {_CORE + kind for kind in ("null", "bool", "int", "str", "float", "timestamp", "merge")}


@dataclass(frozen=True)
class Document:
    """
    A YAML document whose outermost value is a mapping.

    Attributes:
        name: What errors call it.
        value: Its content as JSON has it: mappings with text keys, lists, text, integers, booleans, None.
        texts: The same, but every scalar as it was written, and null as `""`.
        lines: Line, from 1, of each key and list item.
    """

    name: str
    value: dict[str, Any]
    texts: dict[str, Any]
    lines: dict[Keys, int]

    def line(self, keys: Keys) -> int:
        """Return the line of *keys*, or of what would hold them if they are not there."""
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return self.lines.get(keys, 1)

    @classmethod
    def from_bytes(cls, content: bytes, name: str, *, may_be_empty: bool = False) -> "Document":
        """
        Return the document in *content*.

        Args:
            content: UTF-8 text.
            name: What errors call it.
            may_be_empty: Whether nothing, or comments alone, stands for the empty mapping.

        Raises:
            MetadataError: It is none, or beyond `MAX_SIZE_BYTES`, `MAX_NODES` or `MAX_DEPTH`.
        """
        root = compose(content, name)
        reader = _Reader(name, _value_of)
        value = None if root is None else reader.read(root, ())
        if root is None or value is None:
            if not may_be_empty:
                raise MetadataError(name, "", "empty")
            return cls(name, {}, {}, {})
        if not isinstance(value, dict):
            raise MetadataError(name, "", f"expected a mapping, got {describe(value)}")
        return cls(name, value, _Reader(name, _text_of).read(root, ()), reader.lines)


def read_bounded(path: Path, name: str) -> bytes:
    """
    Return the bytes of the file *path*, a document called *name*.

    Raises:
        MetadataError: There are more than `MAX_SIZE_BYTES`; no more than these are read.
        StorageError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SIZE_BYTES + 1)
    except OSError as error:
        raise StorageError.from_os_error(error, path) from error
    _check_size(content, name)
    return content


def dotted(keys: Keys) -> str:
    """Return the place *keys* as errors show it: `"datasources.malloc.fields"`."""
    return ".".join(keys)


def describe(value: Any) -> str:
    """Return a few words that say what *value* is: `"a list"`, `"nothing"`, `"'maybe'"`."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def _check_size(content: bytes, name: str) -> None:
    if len(content) > MAX_SIZE_BYTES:
        raise MetadataError(name, "", f"larger than {MAX_SIZE_BYTES // 1024} KiB")


def compose(content: bytes, name: str) -> yaml.Node | None:
    """Return the root of the YAML document in *content*, None if it is empty; errors as of `Document`."""
    _check_size(content, name)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise MetadataError(name, "", f"offset {error.start}: not UTF-8") from error
    with _as_metadata_error(name):
        return _Composer(text).get_single_node()


@contextmanager
def _as_metadata_error(name: str) -> Iterator[None]:
    try:
        yield
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise MetadataError(name, "", f"{place}{error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        raise MetadataError(name, "", f"character {error.position}: {error.reason}") from error
    except (ValueError, OverflowError) as error:
        # PyYAML passes any number on to chr() and int().
        raise MetadataError(name, "", f"an escape or directive is out of range: {error}") from error


class _Composer(yaml.SafeLoader):
    """PyYAML's composer, which recurses, with a bound on depth; scalars by the core schema of YAML 1.2."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, f"nested more than {MAX_DEPTH} deep", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode and implicit[0]:
            return _CORE + next((name for name, form in _CORE_SCALARS if form.fullmatch(value)), "str")
        return str(super().resolve(kind, value, (False, True)))  # type: ignore[no-untyped-call]


class _Reader:
    """Turns nodes into values; one walk, in document order."""

    def __init__(self, name: str, read_scalar: Callable[[yaml.ScalarNode], Any]) -> None:
        self._name = name
        self._read_scalar = read_scalar
        self._n_nodes = 0
        self._open: set[int] = set()
        self.lines: dict[Keys, int] = {}

    def read(self, node: yaml.Node, keys: Keys) -> Any:
        self._count(keys)
        self.lines.setdefault(keys, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, keys)
        if id(node) in self._open:
            raise MetadataError(self._name, dotted(keys), "an alias contains itself")
        self._open.add(id(node))
        value = self._mapping(node, keys) if isinstance(node, yaml.MappingNode) else self._list(node, keys)
        self._open.remove(id(node))
        return value

    def _count(self, keys: Keys) -> None:
        self._n_nodes += 1
        if self._n_nodes > MAX_NODES:
            raise MetadataError(self._name, "", f"more than {MAX_NODES} values, aliases expanded")
        if len(keys) > MAX_DEPTH:
            raise MetadataError(self._name, "", f"nested more than {MAX_DEPTH} deep, aliases expanded")

    def _scalar(self, node: yaml.ScalarNode, keys: Keys) -> Any:
        if node.tag not in _PLAIN_TAGS:
            raise MetadataError(self._name, dotted(keys), f"tag {node.tag!r} has no meaning here")
        try:
            node.value.encode()
        except UnicodeEncodeError as error:
            raise MetadataError(self._name, dotted(keys), "half of a surrogate pair is no text") from error
        return self._read_scalar(node)

    def _list(self, node: yaml.Node, keys: Keys) -> list[Any]:
        return [self.read(item, (*keys, str(position))) for position, item in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, keys: Keys) -> dict[str, Any]:
        value: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _CORE + "merge":
                merged |= self._merged(value_node, keys)
                continue
            key = self._key(key_node, keys)
            if key in value:
                line = key_node.start_mark.line + 1
                raise MetadataError(self._name, dotted((*keys, key)), f"duplicate key (line {line})")
            self.lines[(*keys, key)] = key_node.start_mark.line + 1
            value[key] = self.read(value_node, (*keys, key))
        return merged | value

    def _key(self, node: yaml.Node, keys: Keys) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise MetadataError(self._name, dotted(keys), "a key is a mapping or a list, expected text")
        self._scalar(node, keys)
        return str(node.value)

    def _merged(self, node: yaml.Node, keys: Keys) -> dict[str, Any]:
        """Return what `<<` stands for: a mapping, or a list of mappings of which the first wins."""
        value = self.read(node, (*keys, "<<"))
        merged: dict[str, Any] = {}
        for part in value if isinstance(value, list) else [value]:
            if not isinstance(part, dict):
                problem = f"expected a mapping, got {describe(part)}"
                raise MetadataError(self._name, dotted((*keys, "<<")), problem)
            merged = part | merged
        return merged


def _value_of(node: yaml.ScalarNode) -> str | int | bool | None:
    if node.tag == NULL_TAG:
        return None
    if node.tag == _CORE + "bool":
        return str(node.value).lower() == "true"
    if node.tag == _CORE + "int" and _CORE_SCALARS[2][1].fullmatch(node.value):
        return int(node.value)
    return str(node.value)


def _text_of(node: yaml.ScalarNode) -> str:
    return "" if node.tag == NULL_TAG else str(node.value)
