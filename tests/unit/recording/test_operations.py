"""The one list of operations is the gadget's, and what documents and SQL say."""

import re
from pathlib import Path

import duckdb

from gadgetops.recording.operations import NAMES, OPERATIONS, VIEW

ROOT = Path(__file__).parents[3]


def test_documents_list_them() -> None:
    """Allocations and releases, each of them."""
    text = (ROOT / "docs/recording-format.md").read_text()
    listed = re.search(r"^Allocations: (.*?)\. Releases: (.*?)\. ", text, re.MULTILINE | re.DOTALL)
    assert listed is not None
    allocations, releases = (set(re.findall(r"`(\w+)`", part)) for part in listed.groups())
    assert allocations == {each.name for each in OPERATIONS if not each.is_release}
    assert releases == {each.name for each in OPERATIONS if each.is_release}


def test_sql_has_a_row_for_each() -> None:
    with duckdb.connect() as connection:
        connection.execute(VIEW)
        found = connection.execute("from operations").fetchall()
    assert found == [(each.name, each.is_release, each.is_mapping) for each in OPERATIONS]


def test_no_other_list_of_them_is_kept() -> None:
    """Two names side by side would be the beginning of one; the two halves of a realloc() are a pair."""
    package = ROOT / "operator" / "gadgetops"
    paths = [path for path in package.rglob("*") if path.suffix in {".py", ".sql"}]
    names = "|".join(name for name in NAMES if name not in {"mmap", "munmap", "realloc_free"})
    lists = re.compile(rf"['\"]({names})['\"], ?['\"]({names})['\"]")
    assert [path.name for path in paths if lists.search(path.read_text())] == []
