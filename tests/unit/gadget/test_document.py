"""YAML written by people: what it becomes, and what is refused."""

from pathlib import Path

import pytest

from gadgetops.errors import MetadataError, StorageError
from gadgetops.gadget.documents.document import MAX_DEPTH, MAX_SIZE_BYTES, Document, describe, read_bounded


def parse(text: str | bytes) -> Document:
    return Document.from_bytes(text if isinstance(text, bytes) else text.encode(), "doc.yaml")


def refused(text: str | bytes) -> MetadataError:
    with pytest.raises(MetadataError) as caught:
        parse(text)
    assert caught.value.document == "doc.yaml"
    return caught.value


@pytest.mark.parametrize(
    ("written", "value", "text"),
    [
        ("yes", "yes", "yes"),
        ("0x10", "0x10", "0x10"),
        ("1.50", "1.50", "1.50"),
        ("1_000", "1_000", "1_000"),
        ("12:30:45", "12:30:45", "12:30:45"),
        ("2001-01-01", "2001-01-01", "2001-01-01"),
        ("010", 10, "010"),
        ("-7", -7, "-7"),
        ("True", True, "True"),
        ("'true'", "true", "true"),
        ("null", None, ""),
        ("~", None, ""),
        ("", None, ""),
        ("'null'", "null", "null"),
        ("!!str 5", "5", "5"),
        ("!!int '5'", 5, "5"),
        ("!!int five", "five", "five"),
        ("9" * 30, "9" * 30, "9" * 30),
    ],
)
def test_scalars_have_a_value_and_the_text_they_were_written_as(
    written: str, value: object, text: str
) -> None:
    document = parse(f"key: {written}")
    assert document.value == {"key": value}
    assert type(document.value["key"]) is type(value)
    assert document.texts == {"key": text}


def test_keys_are_text() -> None:
    assert parse("1: a\ntrue: b\n~: c").value == {"1": "a", "true": "b", "~": "c"}


def test_lines_are_those_of_keys_and_list_items() -> None:
    document = parse("# comment\na:\n  b:\n  - x\n  - y\n")
    assert document.lines == {(): 2, ("a",): 2, ("a", "b"): 3, ("a", "b", "0"): 4, ("a", "b", "1"): 5}


def test_aliases_and_merge_keys_are_expanded() -> None:
    document = parse("base: &b {x: 1, y: 2}\nother: &o {y: 3, z: 4}\nall: {<<: [*b, *o], z: 5}\none: *b\n")
    assert document.value["all"] == {"x": 1, "y": 2, "z": 5}
    assert document.value["one"] == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    ("text", "path", "problem"),
    [
        ("", "", "empty"),
        ("# nothing\n", "", "empty"),
        ("- a\n- b\n", "", "expected a mapping, got a list"),
        ("just text", "", "expected a mapping, got 'just text'"),
        ("a: 1\na: 2\n", "a", "duplicate key (line 2)"),
        ("a:\n  b: 1\n  c: 2\n  b: 3\n", "a.b", "duplicate key (line 4)"),
        ("a:\n\t- b\n", "", "line 2, column 1: found character '\\t' that cannot start any token"),
        ("a: [1, 2\n", "", "line 2, column 1: expected ',' or ']', but got '<stream end>'"),
        ("a: &x [*x]", "a.0", "an alias contains itself"),
        ("a: &x {b: {c: *x}}", "a.b.c", "an alias contains itself"),
        ("a: *nowhere", "", "line 1, column 4: found undefined alias 'nowhere'"),
        ("[a, b]: c", "", "a key is a mapping or a list, expected text"),
        ("a: !!python/object:os.system x", "a", "tag 'tag:yaml.org,2002:python/object:os.system' has no"),
        ("a: !mine x", "a", "tag '!mine' has no meaning here"),
        ('a: "\\ud800"', "a", "half of a surrogate pair is no text"),
        ('a: "\\UFFFFFFFF"', "", "an escape or directive is out of range"),
        ("a: {<<: 5}", "a.<<", "expected a mapping, got '5'"),
        ("a: 1\n--- \nb: 2\n", "", "line 2, column 1: but found another document"),
        (b"a: \xff", "", "offset 3: not UTF-8"),
        (b"a: \x00", "", "character 3: special characters are not allowed"),
        ("[" * 1000, "", f"line 1, column {MAX_DEPTH + 1}: nested more than {MAX_DEPTH} deep"),
        ("a: " + "x" * MAX_SIZE_BYTES, "", "larger than 256 KiB"),
    ],
)
def test_what_is_no_document_is_refused_with_its_place(text: str | bytes, path: str, problem: str) -> None:
    error = refused(text)
    assert error.path == path
    assert error.reason.startswith(problem)


@pytest.mark.parametrize("opening", ["[", "{a: "])
def test_exploding_aliases_are_refused(opening: str) -> None:
    """Nine levels of nine aliases would be 387 million values: they are not expanded to be counted."""
    closing = {"[": "]", "{a: ": "}"}[opening]
    lines = ["l0: &l0 x"]
    for level in range(1, 10):
        items = ", ".join([f"{opening}*l{level - 1} {closing}"] * 9)
        lines.append(f"l{level}: &l{level} [{items}]")
    assert refused("\n".join(lines)).reason == "more than 50000 values, aliases expanded"


def test_deep_chains_of_aliases_are_refused() -> None:
    lines = ["l0: &l0 [x]", *(f"l{n}: &l{n} [*l{n - 1}]" for n in range(1, 50))]
    assert refused("\n".join(lines)).reason == f"nested more than {MAX_DEPTH} deep, aliases expanded"


def test_a_file_that_may_be_empty_is_the_empty_mapping() -> None:
    for content in (b"", b"# comment\n", b"---\n", b"null\n"):
        assert Document.from_bytes(content, "doc.yaml", may_be_empty=True).value == {}


def test_no_more_than_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "big"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(MetadataError, match="larger than 256 KiB"):
        read_bounded(path, "big")


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        read_bounded(tmp_path, "folder")
    assert caught.value.path == tmp_path


@pytest.mark.parametrize(
    ("value", "words"),
    [({}, "a mapping"), ([], "a list"), (None, "nothing"), (True, "'true'"), ("x" * 80, f"'{'x' * 60}…'")],
)
def test_values_are_described_in_a_few_words(value: object, words: str) -> None:
    assert describe(value) == words
