"""
artifacthub-pkg.yml: what Artifact Hub shows of a gadget, made of gadget.yaml and of what people wrote there.

The keys are those of Artifact Hub's package metadata; the names of annotations those that it documents for
container images, so that one line in gadget.yaml serves both.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import yaml

from gadgetops.errors import UsageError
from gadgetops.gadget.building.created import created_by_environment
from gadgetops.gadget.building.toolchain import TARGETS
from gadgetops.gadget.documents.document import Document
from gadgetops.gadget.documents.metadata import Metadata
from gadgetops.gadget.documents.problems import Problem, raise_if_any
from gadgetops.gadget.documents.validate import load_schema, problems
from gadgetops.oci.reference import Reference

FILE_NAME: Final = "artifacthub-pkg.yml"
HEADER: Final = (
    "# Written by `gadgetops artifacthub` from gadget.yaml. Yours, and kept: every key that it does not\n"
    "# derive, such as category, license, maintainers and changes.\n"
)
DEFAULT_KEYWORDS: Final = ("ebpf", "gadget", "inspektor-gadget")
DEFAULT_CATEGORY: Final = "monitoring-logging"
IMAGE_NAME: Final = "gadget"
"""By this name Artifact Hub's clients find the image to run."""

_ANNOTATIONS: Final = {
    "version": "org.opencontainers.image.version",
    "license": "org.opencontainers.image.licenses",
    "category": "io.artifacthub.package.category",
    "logoURL": "io.artifacthub.package.logo-url",
    "alternativeName": "io.artifacthub.package.alternative-name",
}
_KEYWORDS: Final = "io.artifacthub.package.keywords"
_NEEDED: Final = ("name", "description")
_OPTIONAL: Final = ("homepageURL", "documentationURL", "sourceURL")
_LINKS: Final = {"source": "sourceURL", "documentation": "documentationURL"}


def package(
    metadata: Metadata,
    before: Mapping[str, Any],
    *,
    version: str | None = None,
    image: Reference | None = None,
) -> dict[str, Any]:
    """
    Return the package of the gadget that *metadata* describes, keys in the order of Artifact Hub's document.

    Args:
        metadata: gadget.yaml.
        before: The package as it was; what gadget.yaml and the arguments do not say stays.
        version: By SemVer, with or without a `v` in front; by default gadget.yaml's annotation, or as before.
        image: The image to run; by default as before.

    Raises:
        UsageError: There is no version or image, or SOURCE_DATE_EPOCH is no time.
        MetadataError: Something is missing in gadget.yaml, or what comes out is nothing Artifact Hub takes.
    """
    raise_if_any(metadata.document, [*_unfilled(metadata)])
    told = {key: metadata.annotations.get(name, "") for key, name in _ANNOTATIONS.items()}
    number = (version or told.pop("version") or str(before.get("version", ""))).removeprefix("v")
    name = _image_name(image, before)
    values = {
        **before,
        **{key: text for key, text in told.items() if text and key != "version"},
        "version": _required(number, "version", "--version 1.0.0"),
        "name": re.sub(r"[^A-Za-z0-9]+", "-", metadata.text("name")).strip("-").lower(),
        "displayName": metadata.text("name"),
        "createdAt": _created(number, before),
        "description": metadata.text("description"),
        "containersImages": _images(name, before),
        "keywords": _keywords(metadata, before),
        "links": _links(metadata, before),
        "install": _install(name),
    }
    values.setdefault("category", DEFAULT_CATEGORY)
    if metadata.text("homepageURL"):
        values["homeURL"] = metadata.text("homepageURL")
    ordered = {key: values[key] for key in load_schema("artifacthub")["properties"] if key in values}
    read(to_yaml(ordered), f"{FILE_NAME} (to be written)")
    return ordered


def read(content: bytes, name: str) -> dict[str, Any]:
    """Return the package in *content*; raise `MetadataError` if Artifact Hub would not take it."""
    document = Document.from_bytes(content, name)
    raise_if_any(document, problems(document, "artifacthub"))
    return document.value


def to_yaml(values: Mapping[str, Any]) -> bytes:
    """Return *values* as the file has them: in their order, texts of several lines as such."""
    text = yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)
    return f"{HEADER}{text}".encode()


class _Dumper(yaml.SafeDumper):
    """PyYAML's, with lists set in and texts of several lines written as blocks."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text_node)


def _unfilled(metadata: Metadata) -> Iterator[Problem]:
    """Yield the texts that gadget.yaml lacks, or has as `build --update-metadata` wrote them."""
    for key in (*_NEEDED, *_OPTIONAL):
        text = metadata.text(key)
        if text.startswith("TODO") or (not text and key in _NEEDED):
            yield Problem((key,) if text else (), f"{'' if text else f'{key}: '}to be filled in")


def _required(value: str, what: str, option: str) -> str:
    if not value:
        raise UsageError(f"{FILE_NAME}: the {what} is not known", hint=f"pass {option}; it is kept then")
    return value


def _image_name(image: Reference | None, before: Mapping[str, Any]) -> str:
    images = before.get("containersImages") or [{}]
    return _required(str(image or images[0].get("image", "")), "image", "--image ghcr.io/me/mine:v1.0.0")


def _images(name: str, before: Mapping[str, Any]) -> list[dict[str, Any]]:
    platforms = [f"linux/{architecture}" for architecture in sorted(TARGETS)]
    first, *others = before.get("containersImages") or [{}]
    return [{"name": IMAGE_NAME, **first, "image": name, "platforms": platforms}, *others]


def _keywords(metadata: Metadata, before: Mapping[str, Any]) -> list[str]:
    told = [word.strip() for word in metadata.annotations.get(_KEYWORDS, "").split(",")]
    return [word for word in told if word] or before.get("keywords") or [*DEFAULT_KEYWORDS]


def _links(metadata: Metadata, before: Mapping[str, Any]) -> list[dict[str, str]]:
    told = {name: metadata.text(key) for name, key in _LINKS.items() if metadata.text(key)}
    kept = {link["name"]: link["url"] for link in before.get("links", ()) if link["name"] not in _LINKS}
    return [{"name": name, "url": url} for name, url in {**told, **kept}.items()]


def _created(version: str, before: Mapping[str, Any]) -> str:
    """Return when this version was first written: that stays, so that a check has one answer."""
    if version == before.get("version") and "createdAt" in before:
        return str(before["createdAt"])
    chosen = created_by_environment()
    if chosen is not None:
        return str(chosen)
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _install(image: str) -> str:
    return (
        "On a Linux machine with `ig`, as root:\n\n"
        f"```bash\nig run {image}\n```\n\n"
        "In a Kubernetes cluster with Inspektor Gadget:\n\n"
        f"```bash\nkubectl gadget run {image}\n```\n"
    )
