"""
Other places of an image, as containers-registries.conf(5) names them (version 2): mirrors, and where a
registry really is.

Read are `registries.conf` of the user, else of the machine, and the files of `registries.conf.d` beside them;
where none of them is there, a reference is looked up where it says. Pushing never goes to a mirror.
"""

import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from gadgetops.errors import InvalidReference, StorageError, UsageError
from gadgetops.oci.reference import Reference

VARIABLE: Final = "CONTAINERS_REGISTRIES_CONF"
MACHINE: Final = Path("/etc/containers/registries.conf")
_BY_DIGEST, _BY_TAG = "digest-only", "tag-only"


@dataclass(frozen=True)
class Candidate:
    """
    A place where an image may be.

    Attributes:
        reference: What to ask for, and whom.
        is_insecure: Whether it may be asked without TLS.
    """

    reference: Reference
    is_insecure: bool


def candidates(reference: Reference) -> list[Candidate]:
    """
    Return where to look for *reference*, first place first; never empty, the registry's own place last.

    Raises:
        StorageError: A file cannot be read, or is not TOML.
        UsageError: The registry is blocked, or a place is not a reference.
    """
    found = max(
        ((len(entry.prefix), entry) for entry in _entries() if entry.covers(reference)),
        key=lambda pair: pair[0],
        default=None,
    )
    return [Candidate(reference, is_insecure=False)] if found is None else list(found[1].places(reference))


@dataclass(frozen=True)
class _Entry:
    """One `[[registry]]`, and the file it stands in."""

    table: Mapping[str, Any]
    path: Path

    @property
    def prefix(self) -> str:
        """Of which references it speaks."""
        return str(self.table.get("prefix") or self.table.get("location") or "")

    def covers(self, reference: Reference) -> bool:
        """Return whether *reference* begins with the prefix, at the border of a component."""
        name = f"{reference.registry}/{reference.repository}"
        if self.prefix.startswith("*."):
            return reference.registry.endswith(self.prefix[1:])
        return bool(self.prefix) and (name == self.prefix or name.startswith(f"{self.prefix}/"))

    def places(self, reference: Reference) -> Iterator[Candidate]:
        """Yield the places of *reference*, mirrors first; raise `UsageError` if it is blocked."""
        if self.table.get("blocked") is True:
            raise UsageError(f"{reference}: blocked", hint=f"by {self.prefix} in {self.path}")
        by_digest_only = self.table.get("mirror-by-digest-only") is True
        for mirror in _tables(self.table.get("mirror"), self.path):
            use = mirror.get("pull-from-mirror") or (_BY_DIGEST if by_digest_only else "all")
            if (use == _BY_DIGEST and not reference.digest) or (use == _BY_TAG and reference.digest):
                continue
            yield self._moved(reference, mirror)
        yield self._moved(reference, self.table)

    def _moved(self, reference: Reference, table: Mapping[str, Any]) -> Candidate:
        """Return *reference* with the place of *table* instead of the prefix."""
        location = str(table.get("location") or "")
        is_insecure = table.get("insecure") is True
        if not location:
            return Candidate(reference, is_insecure)
        name = f"{reference.registry}/{reference.repository}"
        rest = f"/{reference.repository}" if self.prefix.startswith("*.") else name[len(self.prefix) :]
        registry, _, repository = f"{location}{rest}".partition("/")
        try:
            moved = Reference.parse(f"{registry}/{repository}:x")
        except InvalidReference as error:
            raise UsageError(f"{self.path}: location {location!r}: {error}") from error
        return Candidate(
            replace(reference, registry=moved.registry, repository=moved.repository), is_insecure
        )


def _entries() -> Iterator[_Entry]:
    """Yield the entries of all files; of two with one prefix the later file's counts, so it comes alone."""
    by_prefix: dict[str, _Entry] = {}
    for path in _files():
        try:
            document = tomllib.loads(path.read_text())
        except OSError as error:
            raise StorageError.from_os_error(error, path) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise StorageError(path, f"not TOML: {error}") from error
        for table in _tables(document.get("registry"), path):
            entry = _Entry(table, path)
            by_prefix[entry.prefix] = entry
    yield from by_prefix.values()


def _files() -> Iterator[Path]:
    given = os.environ.get(VARIABLE)
    if given:
        yield Path(given)
        return
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser())
    user = home / "containers" / MACHINE.name
    main = user if user.is_file() else MACHINE
    if main.is_file():
        yield main
    for folder in (MACHINE, user):
        yield from sorted(folder.with_suffix(".conf.d").glob("*.conf"))


def _tables(value: object, path: Path) -> Iterable[Mapping[str, Any]]:
    """Return *value* as a list of tables; version 1 of the format has a table there, which is refused."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise StorageError(path, "registries: expected [[registry]] tables", hint="write it in version 2")
    return value
