"""Problems of a document: found all at once, raised as one error."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gadgetops.errors import MetadataError
from gadgetops.gadget.documents.document import Document, Keys, dotted

MAX_SHOWN = 50
"""How many problems one error lists; it counts the others."""


@dataclass(frozen=True)
class Problem:
    """
    One thing that is wrong with a document.

    Attributes:
        keys: Where; empty for the whole document.
        text: What, as one clause.
        is_harmless: Whether ig passes over it without a word, as over a key that it does not know.
    """

    keys: Keys
    text: str
    is_harmless: bool = False

    def sentence(self, document: Document) -> str:
        """Return the document's name, the place and what is wrong there."""
        return ": ".join(filter(None, (document.name, dotted(self.keys), self.located(document))))

    def located(self, document: Document) -> str:
        """Return what is wrong, and on which line of *document*."""
        return f"{self.text} (line {document.line(self.keys)})" if self.keys else self.text


def raise_if_any(document: Document, problems: Sequence[Problem]) -> None:
    """
    Raise one error for all *problems*, in document order; none if there are none.

    Raises:
        MetadataError: Of one problem, its place and text; of more, their number and a line each.
    """
    if not problems:
        return
    ordered = sorted(set(problems), key=lambda problem: (document.line(problem.keys), problem.keys))
    if len(ordered) == 1:
        raise MetadataError(document.name, dotted(ordered[0].keys), ordered[0].located(document))
    shown = [f"  {dotted(problem.keys)}: {problem.located(document)}" for problem in ordered[:MAX_SHOWN]]
    if len(ordered) > MAX_SHOWN:
        shown.append(f"  … and {len(ordered) - MAX_SHOWN} more")
    raise MetadataError(document.name, "", "\n".join([f"{len(ordered)} problems", *shown]))


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return `" (did you mean 'x'?)"` for the word of *known* nearest to *word*, nothing if none is near."""
    near = nearest(word, known)
    return "" if near is None else f" (did you mean {near!r}?)"


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the word of *known* most like *word*, case aside, if at least *cutoff* (0 to 1) alike."""
    by_lower_case = {candidate.lower(): candidate for candidate in sorted(known)}
    found = difflib.get_close_matches(word.lower()[:200], by_lower_case, n=1, cutoff=cutoff)
    return by_lower_case[found[0]] if found else None
