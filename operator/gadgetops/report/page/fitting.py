"""Keeping a report small: wider slots of time first, then the smallest stacks together."""

from dataclasses import replace
from typing import Final

from gadgetops.report.page.bundle import bundle
from gadgetops.report.page.contents import Contents
from gadgetops.report.page.html import page
from gadgetops.report.page.verdict import verdict

MOST_BYTES: Final = 3_000_000
_FEWEST_SLOTS: Final = 32
_FEWEST_STACKS: Final = 200


def report_page(contents: Contents, most_bytes: int = MOST_BYTES) -> str:
    """Return the HTML file, of *most_bytes* unless it has nothing left to leave out."""
    parts, sentence = bundle(), verdict(contents.answers).sentence
    while True:
        text = page(contents.title, sentence, contents.packed(), parts)
        smaller = _smaller(contents)
        if len(text) <= most_bytes or smaller is None:
            return text
        contents = smaller


def _smaller(contents: Contents) -> Contents | None:
    sums = contents.sums
    if sums.n_slots > _FEWEST_SLOTS:
        return replace(contents, sums=sums.coarser())
    if len(sums.stacks) > _FEWEST_STACKS:
        return replace(contents, sums=sums.folded(len(sums.stacks) // 2))
    return None
