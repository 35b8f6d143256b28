"""
The index.json of a layout: which content has which name.

It lists every name with the descriptor it stands for, and every manifest without a name (untagged), since
that is how ig finds signatures. What other tools wrote there is kept: entries, their order, their members.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Final

from gadgetops.errors import ContentError
from gadgetops.oci.content import (
    ANNOTATION_REF_NAME,
    MEDIA_TYPE_INDEX,
    Descriptor,
    Json,
    parse_object,
    to_go_json,
)

ANNOTATION_FORMER_NAME: Final = "gadgetops.former-name"
"""In index.json, at what lost its last name to other content: that name."""
EMPTY: Final = b'{"schemaVersion":2,"mediaType":"' + MEDIA_TYPE_INDEX.encode() + b'","manifests":[]}'
"""The index.json of a layout without content, as ig writes it."""


class IndexFile:
    """The entries of an index.json, to be read, changed and written back."""

    def __init__(self, document: Json, entries: Iterable[Descriptor]) -> None:
        self._document = document
        self._entries = list(entries)

    @classmethod
    def from_bytes(cls, data: bytes, what: str) -> "IndexFile":
        """Return what *data*, called *what* in errors, lists; `ContentError` if it is no index.json."""
        document = parse_object(data, what)
        listed = document.get("manifests")
        if listed is None:
            listed = []
        if not isinstance(listed, list):
            raise ContentError(f"{what}: manifests: expected an array")
        places = (f"{what}: manifests[{position}]" for position in range(len(listed)))
        return cls(document, map(Descriptor.from_json, listed, places))

    def to_bytes(self) -> bytes:
        """Return the JSON text; members unknown here are kept."""
        return to_go_json({**self._document, "manifests": [entry.to_json() for entry in self._entries]})

    @property
    def entries(self) -> list[tuple[str | None, Descriptor]]:
        """The name, if any, and the descriptor of each entry, in the file's order."""
        return [(_name(entry), _named(entry, None)) for entry in self._entries]

    @property
    def names(self) -> dict[str, Descriptor]:
        """Each name and what it stands for, sorted by name; of a name listed twice the last entry counts."""
        return dict(sorted(((name, found) for name, found in self.entries if name), key=lambda pair: pair[0]))

    def set_name(self, name: str, descriptor: Descriptor) -> None:
        """Let *name* stand for *descriptor*; what it stood for before stays listed, and is `superseded`."""
        before = self.names.get(name)
        self.drop_name(name)
        if before is not None and before.digest != descriptor.digest:
            self._note_former_name(before.digest, name)
        self.forget({descriptor.digest})
        self._entries.append(_named(descriptor, name))

    def drop_name(self, name: str) -> None:
        """Take *name* away; what it stood for stays listed, untagged if it has no other name."""
        dropped = [entry for entry in self._entries if _name(entry) == name]
        self._entries = [entry for entry in self._entries if _name(entry) != name]
        for entry in dropped:
            self.add_untagged(entry)

    def add_untagged(self, descriptor: Descriptor) -> None:
        """List *descriptor* without a name, unless its digest is listed already."""
        if all(entry.digest != descriptor.digest for entry in self._entries):
            self._entries.append(_named(descriptor, None))

    def superseded(self, names: Collection[str]) -> list[Descriptor]:
        """Return the untagged entries whose last name was one of *names* and was given to other content."""
        untagged = (entry for entry in self._entries if not _name(entry))
        former = (entry for entry in untagged if entry.annotations.get(ANNOTATION_FORMER_NAME) in names)
        return [_named(entry, None) for entry in former]

    def _note_former_name(self, digest: str, name: str) -> None:
        former = {ANNOTATION_FORMER_NAME: name}
        self._entries = [
            replace(entry, annotations={**entry.annotations, **former})
            if entry.digest == digest and not _name(entry)
            else entry
            for entry in self._entries
        ]

    def sort(self) -> None:
        """Put the entries in the order of their digests, then names, whatever order they came in."""
        self._entries.sort(key=lambda entry: (entry.digest, _name(entry) or ""))

    def forget(self, digests: Collection[str]) -> None:
        """Take the untagged entries of *digests* off the list."""
        self._entries = [entry for entry in self._entries if _name(entry) or entry.digest not in digests]


def _name(entry: Descriptor) -> str | None:
    return entry.annotations.get(ANNOTATION_REF_NAME) or None


def _named(descriptor: Descriptor, name: str | None) -> Descriptor:
    """Return *descriptor* with *name* in the annotation that index.json keeps names in."""
    ours = (ANNOTATION_REF_NAME, ANNOTATION_FORMER_NAME)
    annotations = {key: text for key, text in descriptor.annotations.items() if key not in ours}
    if name is not None:
        annotations[ANNOTATION_REF_NAME] = name
    return replace(descriptor, annotations=annotations)
