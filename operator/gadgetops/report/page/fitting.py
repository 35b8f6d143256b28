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
        if len(text) <= most_bytes:
            return text
        smaller = _smaller(contents, most_bytes / len(text))
        if smaller is None:
            return text
        contents = smaller


def _smaller(contents: Contents, share: float) -> Contents | None:
    """Return *contents* with about that share of its rows; None if nothing more can be left out."""
    sums = contents.sums
    n_wanted = len(sums.rows.slot) * share
    if sums.n_slots > _FEWEST_SLOTS:
        sums = sums.coarser()
        while sums.n_slots > _FEWEST_SLOTS and len(sums.rows.slot) > n_wanted:
            sums = sums.coarser()
    elif len(sums.stacks) > _FEWEST_STACKS:
        sums = sums.folded(max(_FEWEST_STACKS, len(sums.stacks) // 2))
    else:
        return None
    return replace(contents, sums=sums)
