"""Regions of Markdown: found, rewritten and compared; prose is nobody's business but its author's."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gadgetops.bpf.object import Object
from gadgetops.docs import Document, check, diagrams, fenced, write
from gadgetops.errors import DriftError, MarkdownError, StorageError, UsageError

PATH = Path("NOTES.md")
OBJECT = Path(__file__).parents[1] / "data" / "objects" / "fields.bpf.o"
DOCUMENT = "# Title\n\n<!-- begin one -->\nold\n<!-- end one -->\n\ntail, no line feed"


def document(text: str) -> Document:
    return Document.from_bytes(PATH, text.encode())


def text_of(found: Document) -> str:
    return "".join(found.lines)


def flowchart(*lines: str) -> str:
    return fenced("".join(f"{line}\n" for line in ("flowchart LR", *lines)), "mermaid")


def drift(before: str, after: str, name: str = "flowchart") -> DriftError:
    found = document(f"<!-- begin {name} -->\n{before}<!-- end {name} -->\n")
    (error,) = check([found], {name: lambda: after})
    return error


def refuses() -> str:
    raise AssertionError("a content that no document asks for was made")


def test_only_the_content_of_a_region_changes() -> None:
    """Marks, prose and a missing line feed at the end stay."""
    updated = document(DOCUMENT).updated({"one": lambda: "new\nlines\n"})
    assert text_of(updated) == DOCUMENT.replace("old\n", "new\nlines\n")


def test_a_region_may_be_empty_and_become_so() -> None:
    empty = DOCUMENT.replace("old\n", "")
    assert text_of(document(DOCUMENT).updated({"one": lambda: ""})) == empty
    assert text_of(document(empty).updated({"one": lambda: "old\n"})) == DOCUMENT


def test_line_ends_are_those_of_the_document() -> None:
    windows = DOCUMENT.replace("\n", "\r\n")
    updated = document(windows).updated({"one": lambda: "new\nlines\n"})
    assert text_of(updated) == windows.replace("old", "new\r\nlines")


def test_other_line_separators_are_no_line_ends() -> None:
    """A form feed or U+2028 in prose stays where it is."""
    odd = f"\f a\u2028b \x85\r c\n{DOCUMENT}"
    assert text_of(document(odd).updated({"one": lambda: "old\n"})) == odd


def test_a_remark_in_the_first_mark_is_kept() -> None:
    remarked = DOCUMENT.replace("begin one", "begin one (written by a program)")
    assert text_of(document(remarked).updated({"one": lambda: "old\n"})) == remarked


def test_marks_in_code_are_examples() -> None:
    for fence in ("```", "~~~~", "````markdown", "   ```"):
        closing = fence.strip().removesuffix("markdown")
        assert document(f"{fence}\n<!-- begin one -->\n{closing}\n").regions == ()


def test_a_fence_ends_with_its_like() -> None:
    """A shorter run, another character, or one with text behind it is code."""
    assert document(f"````\n```\n~~~~\n```` x\n````\n{DOCUMENT}").regions[0].name == "one"
    assert document(f"````\n```\n{DOCUMENT}").regions == ()
    assert document(f"``` a ``` b\n{DOCUMENT}").regions[0].name == "one"


@pytest.mark.parametrize(
    "example",
    [
        "    <!-- begin one -->\n    <!-- end one -->\n",
        "\t<!-- begin one -->\n",
        "1.  x\n\n    ```markdown\n    <!-- begin one -->\n    <!-- end one -->\n    ```\n",
        "- x\n\n      <!-- begin one -->\n",
        "- ```\n  <!-- begin one -->\n  ```\n",
        "> ```\n> x\n\n~~~\n<!-- begin one -->\n~~~\n",
    ],
)
def test_code_is_what_commonmark_takes_for_code(example: str) -> None:
    """Indented by four, in a list, after a quotation: marks shown there are left alone."""
    text = f"{example}\nprose\n\n{DOCUMENT}"
    expected = text.replace("old\n", "new\n")
    assert text_of(document(text).updated({"one": lambda: "new\n"})) == expected


@pytest.mark.parametrize(
    "before",
    [
        "- ```sh\n  make\n  ```\n",
        "- ~~~\n  x\n\nprose ends the list, and the code in it\n",
        "> ```\n> a quotation that ends ends its code\n",
        "* a\n  * ```\n    b\n    ```\n",
        "prose\n    goes on, however far it is indented\n",
        "a lone \r```\r is no line end\n",
        "\ufeff",
    ],
)
def test_code_that_ends_hides_no_mark(before: str) -> None:
    text = f"{before}{'' if before.isspace() or len(before) == 1 else chr(10)}{DOCUMENT[9:]}"
    assert text_of(document(text).updated({"one": lambda: "new\n"})) == text.replace("old\n", "new\n")


def test_a_region_in_a_list_item_stays_in_it() -> None:
    """Its content is indented as its first mark is; empty lines are left empty."""
    text = "- item\n\n  <!-- begin one -->\n  <!-- end one -->\n"
    expected = "- item\n\n  <!-- begin one -->\n  a\n\n  b\n  <!-- end one -->\n"
    assert text_of(document(text).updated({"one": lambda: "a\n\nb\n"})) == expected


def test_a_link_stays_one(tmp_path: Path) -> None:
    """What it leads to is rewritten, and keeps its mode."""
    target, link = tmp_path / "docs" / "README.md", tmp_path / "README.md"
    target.parent.mkdir()
    target.write_text(DOCUMENT)
    target.chmod(0o640)
    link.symlink_to("docs/README.md")
    assert write([Document.read(link)], {"one": lambda: "new\n"}) == [link]
    assert link.is_symlink() and target.read_text() == DOCUMENT.replace("old", "new")
    assert target.stat().st_mode & 0o777 == 0o640
    assert [*tmp_path.rglob("*.md_*"), *tmp_path.rglob(".README*")] == []


def test_an_open_fence_inside_a_region_hides_no_mark() -> None:
    """Who cut off its last line by hand gets it back."""
    cut = DOCUMENT.replace("old", "```mermaid")
    assert text_of(document(cut).updated({"one": lambda: "old\n"})) == DOCUMENT


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("\n<!-- begin a -->\n", 2, "region a has no end"),
        ("<!-- end a -->\n", 1, "region a ends, and has not begun"),
        ("<!-- begin a -->\n\n<!-- end b -->\n", 3, "expected the end of a, begun in line 1, got b"),
        (
            "<!-- begin a -->\n<!-- begin b -->\n<!-- end b -->\n<!-- end a -->\n",
            2,
            "region b begins inside a, which began in line 1",
        ),
        ("<!-- begin a -->\n<!-- end a -->\n" * 2, 3, "region a is there already"),
    ],
)
def test_marks_that_do_not_pair_are_refused_with_the_line(text: str, line: int, problem: str) -> None:
    with pytest.raises(MarkdownError) as caught:
        document(text)
    assert (caught.value.path, caught.value.line, caught.value.reason) == (PATH, line, problem)
    assert str(caught.value) == f"NOTES.md: line {line}: {problem}"
    with pytest.raises(MarkdownError):
        document(text.replace("\n", "\r\n"))


def test_bytes_that_are_no_text_are_refused_with_the_line() -> None:
    with pytest.raises(MarkdownError) as caught:
        Document.from_bytes(PATH, b"a\nb\xff\n")
    assert (caught.value.line, caught.value.reason) == (2, "not UTF-8 text")


def test_an_unknown_region_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(MarkdownError) as caught:
        document(DOCUMENT).updated({"once": refuses, "flowchart": refuses})
    assert (caught.value.line, caught.value.reason) == (3, "unknown region 'one'")
    assert caught.value.hint == "did you mean once?"


def test_content_that_holds_a_mark_is_refused() -> None:
    """An object may call its programs anything; a document is not to be cut up by that."""
    with pytest.raises(MarkdownError, match="holds a mark itself"):
        document(DOCUMENT).updated({"one": lambda: "x\n<!-- end one -->\n"})


def test_a_document_without_regions_is_a_wrong_request() -> None:
    for act in (write, check):
        with pytest.raises(UsageError, match=r"NOTES\.md: no generated region"):
            act([document("# Title\n")], {"one": refuses})


def test_content_nobody_asks_for_is_not_made() -> None:
    assert check([document(DOCUMENT)], {"one": lambda: "old\n", "two": refuses}) == []


def test_a_fence_is_longer_than_any_inside() -> None:
    assert fenced("a\n", "text") == "```text\na\n```\n"
    assert fenced("````\n", "text") == "`````text\n````\n`````\n"


def test_writing_replaces_files_that_differ_and_touches_no_other(tmp_path: Path) -> None:
    paths = [tmp_path / "old.md", tmp_path / "same.md"]
    for path, content in zip(paths, ("old", "new"), strict=True):
        path.write_text(DOCUMENT.replace("old", content))
    inode = paths[1].stat().st_ino
    contents = {"one": lambda: "new\n"}
    assert write([*map(Document.read, paths)], contents) == [paths[0]]
    assert paths[0].read_text() == paths[1].read_text()
    assert paths[1].stat().st_ino == inode
    assert check([*map(Document.read, paths)], contents) == []
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_one_wrong_document_keeps_all_from_being_written(tmp_path: Path) -> None:
    paths = [tmp_path / "a.md", tmp_path / "b.md"]
    paths[0].write_text(DOCUMENT)
    paths[1].write_text(DOCUMENT.replace(" one ", " other "))
    with pytest.raises(MarkdownError):
        write([*map(Document.read, paths)], {"one": lambda: "new\n"})
    assert paths[0].read_text() == DOCUMENT


def test_a_document_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        Document.read(tmp_path / "missing.md")
    assert caught.value.path == tmp_path / "missing.md"


def test_drift_is_a_unified_diff_from_what_stands_there() -> None:
    (error,) = check([document(DOCUMENT)], {"one": lambda: "new\n"})
    assert error.regions == ("one",)
    assert error.diff.splitlines()[:2] == ["--- NOTES.md", "+++ NOTES.md (generated)"]
    assert [line for line in error.diff.splitlines()[2:] if line[0] in "+-"] == ["-old", "+new"]
    assert error.diff.endswith(" tail, no line feed\n")
    assert error.changes == ()


def test_wrong_line_ends_within_a_region_are_drift() -> None:
    (error,) = check([document(DOCUMENT.replace("old\n", "old\r\n"))], {"one": lambda: "old\n"})
    assert error.regions == ("one",)


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ('p -- "Lookup" --> m', 'p -- "Update" --> m', ["p no longer looks up m", "p now updates m"]),
        ('p -- "Lookup" --> m', 'p -- "Lookup+Delete" --> m', ["p now deletes from m"]),
        ('p -- "EventOutput" --> m', "", ["p no longer outputs to m"]),
        ('p["p"]', 'q["q"]', ["program p is gone", "program q is new"]),
        ('m[("m")]', "", ["map m is gone"]),
        ("", 'm[("m")]', ["map m is new"]),
        ("", 'p -- "Nod" --> m', ["p now does Nod to m"]),
    ],
)
def test_each_changed_fact_of_a_flowchart_is_a_sentence(before: str, after: str, changes: list[str]) -> None:
    same = 's["s"]'
    assert list(drift(flowchart(same, before), flowchart(same, after)).changes) == changes


def test_the_same_facts_in_another_order_are_said_to_be_that() -> None:
    error = drift(flowchart('a["a"]', 'b["b"]'), flowchart('b["b"]', 'a["a"]'))
    assert error.changes == ("flowchart: the same programs, maps and edges in another order or form",)


def test_a_sequence_diagram_tells_its_edges_and_programs() -> None:
    """Its maps are only those in use: that one is missing says nothing about the gadget."""
    head = "sequenceDiagram\nbox eBPF Programs\nparticipant p\n"
    before = f"{head}end\nbox eBPF Maps\nparticipant m\nend\np->>m: Lookup\n"
    after = f"{head}participant q\nend\nbox eBPF Maps\nend\n"
    assert drift(before, after, "sequence").changes == ("p no longer looks up m", "program q is new")


def test_both_diagrams_of_a_gadget_say_a_change_once() -> None:
    found = document(
        "<!-- begin flowchart -->\n<!-- end flowchart -->\n<!-- begin sequence -->\n<!-- end sequence -->\n"
    )
    contents: dict[str, Callable[[], str]] = {
        "flowchart": lambda: flowchart('p -- "Push" --> m'),
        "sequence": lambda: "p->>m: Push\n",
    }
    (error,) = check([found], contents)
    assert error.regions == ("flowchart", "sequence")
    assert error.changes == ("p now pushes to m",)


def test_the_diagrams_are_those_of_inspect() -> None:
    contents = diagrams(lambda: Object.from_bytes(OBJECT.read_bytes()))
    for name, content in contents.items():
        expected = OBJECT.with_name(f"fields.{name}.mmd").read_text()
        assert content() == f"```mermaid\n{expected}```\n"
