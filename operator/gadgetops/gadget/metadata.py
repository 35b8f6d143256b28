"""gadget.yaml: what a gadget says of itself, checked against its schema."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gadgetops.gadget.document import Document, Keys
from gadgetops.gadget.problems import raise_if_any
from gadgetops.gadget.validate import problems


@dataclass(frozen=True)
class Metadata:
    """
    The facts of a gadget.yaml that building an image needs; all texts as they were written.

    Attributes:
        content: The file's bytes, which become the image's config.
        document: The same, read.
    """

    content: bytes
    document: Document

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "gadget.yaml") -> "Metadata":
        """
        Return the metadata in *content*.

        Args:
            content: A gadget.yaml's bytes.
            name: What errors call it.

        Raises:
            MetadataError: It is no YAML, or says something the schema does not allow; all of that at once.
        """
        document = Document.from_bytes(content, name)
        raise_if_any(document, problems(document, "gadget"))
        return cls(content, document)

    def text(self, key: str) -> str:
        """Return the text of the outermost *key*, empty if it is not there."""
        return str(self.document.texts.get(key, ""))

    @property
    def annotations(self) -> Mapping[str, str]:
        """The annotations of the whole gadget, which go to the image."""
        return self._mapping(("annotations",))

    def names(self, *keys: str) -> list[str]:
        """Return the names listed under *keys*, such as `"datasources", "malloc", "fields"`."""
        return list(self._mapping(keys))

    def _mapping(self, keys: Keys) -> dict[str, Any]:
        """Return the mapping at *keys*; empty if it, or one on the way there, is null or not there."""
        value = self.document.texts
        for key in keys:
            value = value.get(key) or {}
        return value
