"""gadget.yaml: what a gadget says of itself, checked against its schema."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gadgetops.gadget.documents.document import Document
from gadgetops.gadget.documents.problems import Problem, raise_if_any
from gadgetops.gadget.documents.validate import problems


@dataclass(frozen=True)
class Metadata:
    """
    The facts of a gadget.yaml that building an image needs; all texts as they were written.

    Attributes:
        content: The file's bytes, which become the image's config.
        document: The same, read.
        ignored: What ig passes over in it: keys that it does not know.
    """

    content: bytes
    document: Document
    ignored: tuple[Problem, ...] = ()

    @classmethod
    def from_bytes(
        cls,
        content: bytes,
        name: str = "gadget.yaml",
        *,
        may_be_empty: bool = False,
        is_strict: bool = False,
    ) -> "Metadata":
        """
        Return the metadata in *content*.

        Args:
            content: A gadget.yaml's bytes.
            name: What errors call it.
            may_be_empty: Whether nothing stands for a gadget.yaml that is yet to be written.
            is_strict: Whether what ig passes over is an error as well.

        Raises:
            MetadataError: It is no YAML, or says something the schema does not allow; all of that at once.
        """
        document = Document.from_bytes(content, name, may_be_empty=may_be_empty)
        found = problems(document, "gadget")
        raise_if_any(document, [each for each in found if is_strict or not each.is_harmless])
        return cls(content, document, tuple(each for each in found if each.is_harmless))

    def text(self, key: str) -> str:
        """Return the text of the outermost *key*, empty if it is not there."""
        return str(self.document.texts.get(key, ""))

    @property
    def annotations(self) -> Mapping[str, str]:
        """The annotations of the whole gadget, which go to the image."""
        return self.mapping("annotations")

    def mapping(self, *keys: str) -> Mapping[str, Any]:
        """
        Return the mapping at *keys*, case aside; empty if it, or one on the way there, is null or not there.
        """
        value: Mapping[str, Any] = self.document.texts
        for key in keys:
            value = value.get(key) or _case_aside(value, key) or {}
        return value


def _case_aside(mapping: Mapping[str, Any], key: str) -> Any:
    return next((each for name, each in mapping.items() if name.lower() == key.lower()), None)
