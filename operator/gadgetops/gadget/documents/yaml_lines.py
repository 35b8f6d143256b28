"""
Adding keys to a YAML text without touching a byte of what is there.

A library that writes the whole document anew joins lines, respells values and moves comments; here lines are
inserted where the composed nodes end.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from gadgetops.errors import MetadataError
from gadgetops.gadget.documents.document import NULL_TAG, Document, compose

Additions = Mapping[str, Any]
"""Keys to add -> their text, or a mapping of further additions."""

_PLAIN_KEY = re.compile(r"(?!(?:null|true|false|y|n|yes|no|on|off)$)[a-z_][\w.-]*", re.ASCII | re.IGNORECASE)


def add_keys(content: bytes, additions: Additions, name: str, *, first: Sequence[str] = ()) -> bytes:
    """
    Return *content*, a YAML mapping called *name*, with *additions* in it.

    Args:
        content: UTF-8; may be empty or comments alone.
        additions: What to add. A key that is there keeps its value, unless that is null or empty; additions
            to a mapping are added to it.
        name: What errors call it.
        first: Outermost keys that stand at the beginning, in this order; all others are added at the end.

    Raises:
        MetadataError: It is no YAML mapping, or is written in a way that nothing can be added to.
    """
    old = Document.from_bytes(content, name, may_be_empty=True)
    new = _Editor(content.decode(), compose(content, name), first).with_added(additions).encode()
    try:
        is_right = Document.from_bytes(new, name).texts == _merged(old.texts, additions)
    except MetadataError:
        is_right = False
    if not is_right:
        hint = f"add by hand: {_flow(additions)}"
        raise MetadataError(name, "", "it is written in a way that nothing can be added to", hint=hint)
    return new


def _merged(old: Any, additions: Any) -> Any:
    if not isinstance(additions, Mapping):
        return old or additions
    base = old if isinstance(old, dict) else {}
    return base | {key: _merged(base.get(key), value) for key, value in additions.items()}


class _Editor:
    """Collects replacements of parts of a text, and applies them in the end."""

    def __init__(self, text: str, root: yaml.Node | None, first: Sequence[str]) -> None:
        self._text = text
        self._root = root if isinstance(root, yaml.MappingNode) else None
        self._step = 2 if self._root is None else _indentation(self._root)
        self._first = first
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._edits: list[tuple[int, int, str]] = []

    def with_added(self, additions: Additions) -> str:
        if self._root is None:
            self._insert_lines(len(self._text), additions, 0)
        else:
            self._extend(self._root, additions)
        return self._applied()

    def _extend(self, mapping: yaml.MappingNode, additions: Additions) -> None:
        """Add to what is inside *mapping*, then to it: at the same place the inner lines come first."""
        there = {key.value: (key, value) for key, value in mapping.value}
        for key, addition in additions.items():
            if key in there:
                self._fill(mapping, *there[key], addition)
        new = {key: addition for key, addition in additions.items() if key not in there}
        if not new:
            return
        if mapping.flow_style:
            separator = ", " if mapping.value else ""
            self._replace(mapping.end_mark.index - 1, mapping.end_mark.index - 1, separator + _members(new))
            return
        if mapping is self._root:
            self._insert_first(mapping, new)
            new = {key: addition for key, addition in new.items() if key not in self._first}
        self._insert_lines(self._line_after(mapping), new, mapping.start_mark.column)

    def _fill(self, parent: yaml.MappingNode, key: yaml.Node, value: yaml.Node, addition: Any) -> None:
        if value.value and value.tag != NULL_TAG:
            if isinstance(value, yaml.MappingNode) and isinstance(addition, Mapping):
                self._extend(value, addition)
            return
        start, end = value.start_mark.index, value.end_mark.index
        if isinstance(addition, Mapping) and not parent.flow_style:
            self._replace(start, end, "")
            self._insert_lines(self._next_line(end), addition, key.start_mark.column + self._step)
        else:
            blank = "" if self._text[start - 1 : start].isspace() else " "
            self._replace(start, end, blank + _flow(addition))

    def _insert_first(self, root: yaml.MappingNode, new: Additions) -> None:
        """Insert those of *new* that stand at the beginning."""
        there = [pair for pair in root.value if pair[0].value in self._first]
        start = root.start_mark.index - root.start_mark.column
        place = self._line_after(*there[-1]) if there else start
        texts = {key: new[key] for key in self._first if key in new}
        self._insert_lines(place, texts, root.start_mark.column)

    def _line_after(self, *nodes: yaml.Node) -> int:
        """Return where the line after the last of *nodes* begins; of an alias that is the line of its key."""
        return max(self._line_after_one(node) for node in nodes)

    def _line_after_one(self, node: yaml.Node) -> int:
        if isinstance(node, yaml.ScalarNode):
            is_block = node.style in ("|", ">")
            return node.end_mark.index if is_block else self._next_line(node.end_mark.index)
        if not isinstance(node, yaml.CollectionNode) or node.flow_style or not node.value:
            return self._next_line(node.end_mark.index)
        last = node.value[-1]
        return self._line_after(*last) if isinstance(node, yaml.MappingNode) else self._line_after(last)

    def _next_line(self, index: int) -> int:
        newline = self._text.find("\n", index)
        return len(self._text) if newline < 0 else newline + 1

    def _insert_lines(self, index: int, additions: Additions, column: int) -> None:
        if not additions:
            return
        is_after_text = self._text[:index] and not self._text[:index].endswith("\n")
        lines = [*([""] if is_after_text else []), *_lines(additions, column, self._step), ""]
        self._replace(index, index, self._newline.join(lines))

    def _replace(self, start: int, end: int, text: str) -> None:
        self._edits.append((start, end, text))

    def _applied(self) -> str:
        parts, position = [], 0
        for start, end, text in sorted(self._edits, key=lambda edit: edit[:1]):
            parts += [self._text[position:start], text]
            position = end
        return "".join([*parts, self._text[position:]])


def _indentation(root: yaml.MappingNode) -> int:
    """Return by how much the first block mapping inside another one is indented; 2 if there is none."""
    for _, value in root.value:
        if isinstance(value, yaml.MappingNode) and not value.flow_style and value.value:
            return max(1, int(value.start_mark.column) - int(root.start_mark.column))
    return 2


def _lines(additions: Additions, column: int, step: int) -> Iterator[str]:
    for key, addition in additions.items():
        if isinstance(addition, Mapping):
            yield f"{' ' * column}{_key(key)}:"
            yield from _lines(addition, column + step, step)
        else:
            yield f"{' ' * column}{_key(key)}: {_quoted(addition)}"


def _flow(addition: Any) -> str:
    return f"{{{_members(addition)}}}" if isinstance(addition, Mapping) else _quoted(addition)


def _members(additions: Additions) -> str:
    return ", ".join(f"{_key(key)}: {_flow(addition)}" for key, addition in additions.items())


def _key(text: str) -> str:
    return text if _PLAIN_KEY.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _quoted(text: str) -> str:
    return text if _PLAIN_KEY.fullmatch(text) else "'" + text.replace("'", "''") + "'"
