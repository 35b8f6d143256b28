"""
YAML as ig's library reads and writes it; what is expected was taken from ig 0.48 (`--extra-info
oci.metadata`).
"""

from typing import Any

import pytest

from gadgetops.errors import MetadataError
from gadgetops.gadget.documents.go_yaml import from_yaml, to_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("Off", False),
        ("n", False),
        ("'yes'", "yes"),
        ("0x10", 16),
        ("-0x10", -16),
        ("010", 8),
        ("0o17", 15),
        ("0b11", 3),
        ("1_000", 1000),
        ("08", 8),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e+3", 1000),
        ("1e3", 1000),
        ("~", None),
        ("", None),
        ("2020-01-01", "2020-01-01"),
        ("12:30:45", "12:30:45"),
        ("text", "text"),
        ("[1, two, '3']", [1, "two", "3"]),
    ],
)
def test_scalars_stand_for_what_goyaml_takes_them_for(text: str, value: Any) -> None:
    """Quoted ones for themselves."""
    assert from_yaml(f"key: {text}\n", "metadata") == {"key": value}
    assert type(from_yaml(f"key: {text}\n", "metadata")["key"]) is type(value)


def test_keys_become_text() -> None:
    """As JSON wants them."""
    assert from_yaml("5: a\ntrue: b\n~: c\n", "metadata") == {"5": "a", "true": "b", "null": "c"}


def test_merges_give_way_to_what_stands_there() -> None:
    """Before or after; of several the first counts."""
    text = "base: &base {a: 1, b: 2}\nother: &other {b: 3, c: 4}\nboth: {b: 9, <<: [*base, *other]}\n"
    assert from_yaml(text, "metadata")["both"] == {"a": 1, "b": 9, "c": 4}


def test_nothing_is_an_empty_mapping() -> None:
    """As an image without metadata has it."""
    assert from_yaml("", "metadata") == {}
    assert from_yaml("{}", "metadata") == {}


@pytest.mark.parametrize("text", ["- a", "text", "a: &a [*a]", "? [1]\n: 2", "<<: 5", "a: [", "\tb: 1"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    """Or stands for itself, or is no YAML."""
    with pytest.raises(MetadataError):
        from_yaml(text, "metadata")


def test_aliases_may_not_explode() -> None:
    """Nine levels of nine."""
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 10))
    with pytest.raises(MetadataError, match="aliases stand for too much"):
        from_yaml(f"l0: &l0 [x]\n{levels}\n", "metadata")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (["", "a"], '- ""\n- a\n'),
        ({"b": "true", "a": "0x10", "c": "2020-01-01"}, 'a: "0x10"\nb: "true"\nc: "2020-01-01"\n'),
        ({"a": "# no comment"}, "a: '# no comment'\n"),
        ({"a": "one\ntwo\n"}, "a: |\n  one\n  two\n"),
        ({"a": [{"b": 1}]}, "a:\n- b: 1\n"),
        ({"a": "tab\tand\n line"}, 'a: "tab\\tand\\n line"\n'),
        (None, "null\n"),
        ({"a": "é"}, "a: é\n"),
    ],
)
def test_values_are_written_in_goyamls_style(value: Any, text: str) -> None:
    """Block style, quoted twice where it could be mistaken."""
    assert to_yaml(value) == text


def test_long_quoted_text_breaks_at_its_spaces() -> None:
    """The break stands for the space; a second one is kept by a backslash."""
    value = {"a": "\t" + "x" * 80 + " y" + "z" * 80 + "  end\t"}
    assert to_yaml(value) == 'a: "\\t' + "x" * 80 + "\n  y" + "z" * 80 + '\n  \\ end\\t"\n'
