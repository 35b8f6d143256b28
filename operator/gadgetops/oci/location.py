"""Locations: the text that says where an image is, or is to be: registry, store, folder or tar file."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from gadgetops.errors import UsageError
from gadgetops.oci.content import is_digest
from gadgetops.oci.reference import Reference


class Place(Enum):
    """The kinds of places images are in; each value is the prefix people type."""

    REGISTRY = "registry"
    STORE = "store"
    FOLDER = "oci"
    ARCHIVE = "archive"


@dataclass(frozen=True)
class Location:
    """
    Where an image is: `[registry:]REF`, `store:REF`, `oci:FOLDER[:NAME]` or `archive:FILE[:NAME]`.

    Attributes:
        place: What kind of place.
        name: What the image is called there: a reference, a name as it stands in a folder or file, a bare
            digest, or None for the only one.
        path: The folder or file; None elsewhere.
    """

    place: Place
    name: Reference | str | None = None
    path: Path | None = None

    @classmethod
    def parse(cls, text: str, default: Place = Place.REGISTRY) -> "Location":
        """
        Return the location that *text*, as people type it, stands for.

        In front of its first colon stands the kind of place; a text without is a reference at *default*. A
        folder or file whose path has a colon is followed by a NAME.

        Raises:
            InvalidReference: What should be a reference is none.
            UsageError: The path is missing.
        """
        prefix, colon, rest = text.partition(":")
        place = next((each for each in Place if colon and each.value == prefix), None)
        if place is None:
            return cls(default, _reference(text))
        if place in (Place.REGISTRY, Place.STORE):
            return cls(place, _reference(rest))
        path, _, name = rest.partition(":")
        if not path:
            raise UsageError(
                f"{text!r} names no file or folder", hint=f"write {prefix}:PATH or {prefix}:PATH:NAME"
            )
        return cls(place, name or None, Path(path))

    def __str__(self) -> str:
        """Return the text, complete."""
        parts = [self.place.value, self.path, self.name]
        shown = parts if self.place is not Place.REGISTRY else parts[1:]
        return ":".join(str(part) for part in shown if part is not None)


def _reference(text: str) -> Reference | str:
    return text if is_digest(text) else Reference.parse(text)
