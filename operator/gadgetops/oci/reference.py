"""
References: the text that names an image, and how a short one is completed.

The completion is ig's (tried on v0.48.0, `ig image tag`), not Docker's: `foo` is a gadget of Inspektor
Gadget's own repository, `foo/bar` lies on ghcr.io. So is the rule for what a registry is. oras-py has a
parser of references too (`oras.container.Container`), but it completes nothing, checks no grammar, and takes
`localhost/foo` for a repository of docker.io: what it reads is not the name under which ig stores an image.
"""

import re
from dataclasses import dataclass
from typing import Final

from gadgetops.errors import InvalidReference
from gadgetops.oci.content import why_no_digest

DEFAULT_REGISTRY: Final = "ghcr.io"
DEFAULT_NAMESPACE: Final = "inspektor-gadget/gadget"
DEFAULT_TAG: Final = "latest"

MAX_REPOSITORY_LENGTH: Final = 255
"""Longest repository, registry not counted, that ig (distribution/reference) and registries accept."""
MAX_SHOWN_LENGTH: Final = 120
"""An error quotes no more characters than this of a text that is no reference."""

# Grammar: OCI distribution-spec v1.1.1, "Pulling manifests"; the registry is a host, perhaps with a port.
_HOST_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REGISTRY = re.compile(rf"(?:{_HOST_LABEL}(?:\.{_HOST_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?", re.ASCII)
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*", re.ASCII)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """
    A complete reference: `registry/repository[:tag][@digest]`, with a tag, a digest, or both.

    Attributes:
        registry: Host, with its port if any: `"ghcr.io"`, `"localhost:5000"`, `"[::1]:5000"`.
        repository: Path of one or more components, lower case, without the registry.
        tag: None only where there is a digest.
        digest: `"sha256:…"`, or None.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """
        Return the reference that *text*, as people type it, stands for.

        `foo` becomes `ghcr.io/inspektor-gadget/gadget/foo:latest`, `foo/bar` `ghcr.io/foo/bar:latest`, and
        `docker.io/foo` `docker.io/library/foo:latest`. What stands before the first slash is a registry if it
        has a dot, a colon or an upper-case letter, or is `localhost`. With a digest no tag is added.

        Raises:
            InvalidReference: *text* is outside the grammar; the reason names the part.
        """
        if reason := _why_no_text(text):
            raise InvalidReference(_shorten(text), reason)
        name, at, digest = text.partition("@")
        path, tag = _split_tag(name)
        registry, repository = _complete(*_split_registry(path))
        reference = cls(
            registry=registry,
            repository=repository,
            tag=DEFAULT_TAG if tag is None and not at else tag,
            digest=digest if at else None,
        )
        if reason := reference._why_invalid():
            raise InvalidReference(_shorten(text), reason)
        return reference

    def __str__(self) -> str:
        """Return the canonical text: complete, as it stands in a store's index.json."""
        tag = "" if self.tag is None else f":{self.tag}"
        digest = "" if self.digest is None else f"@{self.digest}"
        return f"{self.name}{tag}{digest}"

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar(self) -> str:
        """The text without `ghcr.io/inspektor-gadget/gadget/` in front, as `ig image list` shows it."""
        return str(self).removeprefix(f"{DEFAULT_REGISTRY}/{DEFAULT_NAMESPACE}/")

    def _why_invalid(self) -> str | None:
        return (
            _why_no_registry(self.registry)
            or _why_no_repository(self.repository)
            or (None if self.tag is None else _why_no_tag(self.tag))
            or (None if self.digest is None else why_no_digest(self.digest))
        )


def _split_tag(name: str) -> tuple[str, str | None]:
    """Cut *name* at the colon of its tag; a colon before the last slash belongs to a port."""
    colon = name.rfind(":")
    if colon <= name.rfind("/"):
        return name, None
    return name[:colon], name[colon + 1 :]


def _split_registry(path: str) -> tuple[str | None, str]:
    first, slash, rest = path.partition("/")
    is_registry = "." in first or ":" in first or first == "localhost" or first.lower() != first
    return (first, rest) if slash and is_registry else (None, path)


def _complete(registry: str | None, repository: str) -> tuple[str, str]:
    registry = registry or DEFAULT_REGISTRY
    if registry == "index.docker.io":
        registry = "docker.io"
    namespaces = {DEFAULT_REGISTRY: DEFAULT_NAMESPACE, "docker.io": "library"}
    if "/" not in repository and repository and registry in namespaces:
        repository = f"{namespaces[registry]}/{repository}"
    return registry, repository


def _why_no_text(text: str) -> str | None:
    if not text:
        return "it is empty"
    if any(character.isspace() for character in text):
        return "it contains white space"
    if "://" in text:
        return "a reference has no scheme; leave out what stands before the registry's name"
    return None


def _why_no_registry(registry: str) -> str | None:
    # A host of a container network may have underscores; ig takes these where no port follows.
    if _REGISTRY.fullmatch(registry) or _COMPONENT.fullmatch(registry):
        return None
    return f"{_shorten(registry)!r} is no registry: expected a host name and perhaps a port"


def _why_no_repository(repository: str) -> str | None:
    if not repository:
        return "the repository is empty"
    if len(repository) > MAX_REPOSITORY_LENGTH:
        return f"the repository has {len(repository)} characters, at most {MAX_REPOSITORY_LENGTH} are allowed"
    if repository.lower() != repository:
        return f"the repository {_shorten(repository)!r} has upper-case letters"
    return next(filter(None, map(_why_no_component, repository.split("/"))), None)


def _why_no_component(component: str) -> str | None:
    if not component:
        return "a slash too many: part of the repository is empty"
    if _COMPONENT.fullmatch(component):
        return None
    return (
        f"{_shorten(component)!r} is no part of a repository: "
        "expected a-z and 0-9, with single dots, one or two underscores, or dashes between them"
    )


def _why_no_tag(tag: str) -> str | None:
    if not tag:
        return "the tag is empty"
    if _TAG.fullmatch(tag):
        return None
    return (
        f"{_shorten(tag)!r} is no tag: expected up to 128 letters, digits, underscores, dots and dashes, "
        "not starting with a dot or a dash"
    )


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_LENGTH else f"{text[:MAX_SHOWN_LENGTH]}…"
