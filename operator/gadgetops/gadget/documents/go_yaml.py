"""
YAML as ig's library (goyaml.v2, by way of sigs.k8s.io/yaml) reads and writes it.

It differs from YAML 1.2, which `document` holds gadget.yaml to, in what plain scalars stand for: `yes` is
true, `0x10` sixteen. What ig shows of an image's metadata follows from that.
"""

import re
from typing import Any, Final

import yaml

from gadgetops.errors import MetadataError
from gadgetops.gadget.documents.document import MAX_NODES, compose

_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset({"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})
_FALSE: Final = frozenset({"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})
_INTEGER: Final = re.compile(
    r"(?P<sign>[-+]?)(?:0[xX](?P<x>[0-9a-fA-F]+)|0[bB](?P<b>[01]+)|0[oO]?(?P<o>[0-7]+)|(?P<d>\d+))"
)
_BASES: Final = {"x": 16, "b": 2, "o": 8, "d": 10}
_FLOAT: Final = re.compile(r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?|[-+]?\d+\.(?:[eE][-+]?\d+)?")
_DIGITS_LIMIT: Final = 20
_EXACT_INTEGER_LIMIT: Final = 1e21
"""Go writes floating-point numbers below this without an exponent, and whole ones without a point."""


def from_yaml(text: str, name: str) -> dict[str, Any]:
    """
    Return the mapping that *text*, called *name* in errors, stands for, as JSON has it.

    Raises:
        MetadataError: It is no mapping, or nothing that JSON can say.
    """
    root = compose(text.encode(), name)
    value = {} if root is None else _Reader(name).read(root)
    if not isinstance(value, dict):
        raise MetadataError(name, "", "expected a mapping")
    return value


def to_yaml(value: Any) -> str:
    """Return *value* as a YAML document in block style, keys sorted, text of several lines as it stands."""
    text = yaml.dump(value, Dumper=_Dumper, allow_unicode=True, default_flow_style=False, sort_keys=True)
    return str(text).removesuffix("...\n")


class _Reader:
    def __init__(self, name: str) -> None:
        self._name = name
        self._n_nodes = 0
        self._open: set[int] = set()

    def read(self, node: yaml.Node) -> Any:
        self._n_nodes += 1
        if self._n_nodes > MAX_NODES or id(node) in self._open:
            raise MetadataError(self._name, "", "aliases stand for too much")
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node.value) if node.style is None else node.value
        self._open.add(id(node))
        if isinstance(node, yaml.MappingNode):
            value: Any = self._mapping(node)
        else:
            value = [self.read(item) for item in node.value]
        self._open.remove(id(node))
        return value

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        value: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.value == "<<" and key_node.style is None:
                value = self._merged(value_node) | value
            else:
                value[self._key(key_node)] = self.read(value_node)
        return value

    def _merged(self, node: yaml.Node) -> dict[str, Any]:
        found = self.read(node)
        merged: dict[str, Any] = {}
        for part in found if isinstance(found, list) else [found]:
            if not isinstance(part, dict):
                raise MetadataError(self._name, "<<", "expected a mapping")
            merged = part | merged
        return merged

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise MetadataError(self._name, "", "a key is a mapping or a list, expected text")
        key = self.read(node)
        return str(key).lower() if isinstance(key, bool) else "null" if key is None else str(key)


def _scalar(text: str) -> str | int | float | bool | None:
    """Return what the plain scalar *text* stands for."""
    if text in _NULLS:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    digits = text.replace("_", "") if text[:1] in "+-0123456789" else text
    if (whole := _INTEGER.fullmatch(digits)) and len(digits) <= _DIGITS_LIMIT:
        base = whole.lastgroup or "d"
        return int(f"{whole['sign']}{whole[base]}", _BASES[base])
    if len(digits) <= _DIGITS_LIMIT and _FLOAT.fullmatch(digits):
        number = float(digits)
        return int(number) if number.is_integer() and abs(number) < _EXACT_INTEGER_LIMIT else number
    return text


class _Dumper(yaml.SafeDumper):
    """PyYAML's writer, told to choose goyaml's styles."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Write text of several lines as a block, and quote twice what would be read as something else."""
        style = "|" if "\n" in data else '"' if _is_mistakable(data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    def write_double_quoted(self, text: str, split: bool = True) -> None:
        """
        Break lines where libyaml does: at the first space beyond the width, which the break then stands for.
        """
        self.write_indicator('"', True)
        for position, character in enumerate(text):
            may_break = split and 0 < position < len(text) - 1 and self.column > self.best_width
            if character != " ":
                written = self._escaped(character)
            elif may_break and text[position - 1] != " ":
                self.write_indent()
                written = "\\" if text[position + 1] == " " else ""
            else:
                written = character
            self.column += len(written)
            self.stream.write(written)
        self.write_indicator('"', False)

    def _escaped(self, character: str) -> str:
        if character in self.ESCAPE_REPLACEMENTS:
            return "\\" + self.ESCAPE_REPLACEMENTS[character]
        if character.isprintable():
            return character
        code = ord(character)
        return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


_Dumper.add_representer(str, _Dumper.represent_str)


def _is_mistakable(text: str) -> bool:
    return not isinstance(_scalar(text), str) or any(form.fullmatch(text) for form in _MISTAKABLE)


_MISTAKABLE: Final = (
    re.compile(r"<<|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"),
    re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"),
    re.compile(r"\d{4}-\d{1,2}-\d{1,2}(?:[Tt ]\d{1,2}:\d{1,2}:\d{1,2}(?:\.\d*)?(?:Z|[-+]\d\d:\d\d)?)?"),
)
"""What goyaml takes for a merge, a number, a number to base 60 or a time; it quotes text that looks so."""
