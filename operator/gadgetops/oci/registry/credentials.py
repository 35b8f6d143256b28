"""
Credentials: who we are at which registry, from the files that ig, docker and podman keep, or their helpers.

Files have docker's form (config.json: `auths`, `credHelpers`, `credsStore`). A secret leaves this module only
inside `Credentials`, whose representation hides it; helpers get and give theirs over pipes.
"""

import base64
import binascii
import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any, Final

from gadgetops.errors import ContentError, NotFound, StorageError, ToolError
from gadgetops.oci.content import Json, parse_object
from gadgetops.whole_files import storage_errors, write_file

IG_AUTH_FILE: Final = Path("/var/lib/ig/config.json")
"""Where `ig login` keeps credentials; the path is compiled into ig."""

AUTH_FILE_VARIABLE: Final = "REGISTRY_AUTH_FILE"
DOCKER_CONFIG_VARIABLE: Final = "DOCKER_CONFIG"

_DOCKER_HUB_KEY: Final = "https://index.docker.io/v1/"
_DOCKER_HUB_HOSTS = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_TOKEN_USER: Final = "<token>"  # noqa: S105 - how helpers say that the secret is an identity token


@dataclass(frozen=True, slots=True)
class Credentials:
    """
    Who somebody is at a registry.

    Attributes:
        username: Name; empty with an identity token.
        password: Password, or what a registry gives in its place.
        identity_token: OAuth2 refresh token, which goes to the token service instead of a password.
        registry_token: Bearer token, which goes to the registry as it is.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of the header `Authorization` for HTTP Basic."""
        if self.identity_token:
            return "Basic " + _to_auth(self.username or _TOKEN_USER, self.identity_token)
        return "Basic " + _to_auth(self.username, self.password)


def find_credentials(
    registry: str, authfile: Path | None = None, *, repository: str = ""
) -> Credentials | None:
    """
    Return the credentials for *registry*, None if no file has any.

    Args:
        registry: Host, with its port if any.
        repository: What they are for: entries for a part of it (`host/org/image`, `host/org`; auth.json of
            containers-auth.json(5)) go before that of the host, the longest first.
        authfile: The only file to look into. Otherwise the one that REGISTRY_AUTH_FILE names, or else ig's
            and docker's, in this order: the first that knows the registry counts.

    Raises:
        NotFound: *authfile* is not there.
        ContentError: A file is no auth file.
        ToolError: A helper is missing or failed.
    """
    for path in _files_to_read(authfile):
        found = AuthFile.read(path).find(registry, repository)
        if found is not None:
            return found
    return None


def login_file(authfile: Path | None = None) -> Path:
    """Return the file that a login is kept in: as for `find_credentials`, docker's unless ig has one."""
    named = _named_file(authfile)
    if named is not None:
        return named
    return IG_AUTH_FILE if os.access(IG_AUTH_FILE, os.W_OK) else _docker_file()


class AuthFile:
    """A file of credentials; members unknown here are kept when it is written."""

    def __init__(self, path: Path, document: Json) -> None:
        self.path = path
        self._document = document

    @classmethod
    def read(cls, path: Path) -> "AuthFile":
        """Return what the file *path* says, empty if it is not there; `ContentError` if it is none."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            data = b"{}"
        except OSError as error:
            raise StorageError.from_os_error(error, path) from error
        document = parse_object(data.strip() or b"{}", str(path))
        for name in ("auths", "credHelpers"):
            if not isinstance(document.get(name) or {}, dict):
                raise ContentError(f"{path}: {name}: expected an object")
        return cls(path, document)

    def find(self, registry: str, repository: str = "") -> Credentials | None:
        """Return the credentials for *repository* or a folder above it, else those for *registry*."""
        for path in _prefixes(repository):
            found = self._from_entries(f"{registry}/{path}")
            if found is not None:
                return found
        helper = self._helper(registry)
        found = helper.get(registry) if helper is not None else None
        return found or self._entry(registry)

    def store(self, registry: str, credentials: Credentials) -> str:
        """Keep *credentials* for *registry* and return where: this file, or a helper's name."""
        helper = self._helper(registry)
        if helper is not None:
            helper.store(registry, credentials)
            self._forget(registry)
            self._auths[_key(registry)] = {}
            self._write()
            return helper.program
        self._forget(registry)
        self._auths[_key(registry)] = {"auth": _to_auth(credentials.username, credentials.password)}
        self._write()
        return str(self.path)

    def erase(self, registry: str) -> bool:
        """Forget *registry*, here and at its helper; whether anything was known."""
        helper = self._helper(registry)
        erased = helper.erase(registry) if helper is not None else False
        if self._forget(registry):
            self._write()
            return True
        return erased

    @property
    def _auths(self) -> Json:
        self._document["auths"] = self._document.get("auths") or {}
        auths: Json = self._document["auths"]
        return auths

    def _helper(self, registry: str) -> "_Helper | None":
        helpers = self._document.get("credHelpers") or {}
        names = (helpers.get(key) for key in _possible_keys(registry))
        name = next(filter(None, names), None) or self._document.get("credsStore")
        return _Helper(str(name)) if name else None

    def _from_entries(self, key: str) -> Credentials | None:
        entry = (self._document.get("auths") or {}).get(key)
        return _from_entry(entry, f"{self.path}: auths.{key}") if entry else None

    def _entry(self, registry: str) -> Credentials | None:
        keys = _possible_keys(registry)
        for key, entry in (self._document.get("auths") or {}).items():
            if (key in keys or _host_of(key) in keys) and entry:
                return _from_entry(entry, f"{self.path}: auths.{key}")
        return None

    def _forget(self, registry: str) -> bool:
        keys = _possible_keys(registry)
        known = [key for key in self._auths if key in keys or _host_of(key) in keys]
        for key in known:
            del self._auths[key]
        return bool(known)

    def _write(self) -> None:
        # A link, as in people's managed home folders, stays one: what it points to is replaced.
        path = self.path.resolve()
        with storage_errors(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = json.dumps(self._document, indent="\t", ensure_ascii=False).encode() + b"\n"
        write_file(path, [data], scratch=path.parent, mode=0o600)


class _Helper:
    """A program that keeps credentials, as docker-credential-helpers define it; docker's library asks it."""

    def __init__(self, name: str) -> None:
        self.program = f"docker-credential-{name}"
        self._name = name

    def get(self, registry: str) -> Credentials | None:
        answer = self._ask("get", _key(registry))
        if answer is None:
            return None
        username, secret = str(answer.get("Username", "")), str(answer.get("Secret", ""))
        if username == _TOKEN_USER:
            return Credentials(identity_token=secret)
        return Credentials(username, secret) if username or secret else None

    def store(self, registry: str, credentials: Credentials) -> None:
        self._ask("store", _key(registry), credentials.username, credentials.password)

    def erase(self, registry: str) -> bool:
        known = self.get(registry) is not None
        if known:
            self._ask("erase", _key(registry))
        return known

    def _ask(self, verb: str, *arguments: str) -> Any:
        """Return what the helper answers, None if it knows nothing; errors have none of its words."""
        # Imported here: a helper is rare, and docker's library takes 0.2 s to load.
        from docker.credentials import CredentialsNotFound, Store, StoreError  # noqa: PLC0415

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            store = Store(self._name)
        if store.exe is None:
            hint = "install it, or take it out of credHelpers and credsStore"
            raise ToolError([self.program], status=None, hint=hint)
        try:
            return getattr(store, verb)(*arguments)
        except CredentialsNotFound:
            return None
        except (StoreError, ValueError, KeyError, OSError) as error:
            by_hand = f"run it by hand: echo {_key(arguments[0])} | {self.program} get"
            if isinstance(error.__cause__, CalledProcessError):
                status = error.__cause__.returncode
                raise ToolError([f"{self.program} {verb}"], status=status, hint=by_hand) from error
            reason = "cannot be run" if isinstance(error, OSError | StoreError) else "its answer is not JSON"
            # Its words may be the secret: they are not shown.
            raise ContentError(f"{self.program} {verb}: {reason}", hint=by_hand) from None


def _files_to_read(authfile: Path | None) -> Iterator[Path]:
    if authfile is not None and not authfile.exists():
        raise NotFound(str(authfile), where="the file system", hint="`gadgetops login` makes it")
    named = _named_file(authfile)
    if named is not None:
        yield named
        return
    if os.access(IG_AUTH_FILE, os.R_OK):
        yield IG_AUTH_FILE
    yield _docker_file()


def _named_file(authfile: Path | None) -> Path | None:
    variable = os.environ.get(AUTH_FILE_VARIABLE)
    return authfile or (Path(variable) if variable else None)


def _docker_file() -> Path:
    folder = os.environ.get(DOCKER_CONFIG_VARIABLE)
    return (Path(folder) if folder else Path("~/.docker").expanduser()) / "config.json"


def _key(registry: str) -> str:
    """Return the name under which docker keeps *registry*."""
    return _DOCKER_HUB_KEY if registry in _DOCKER_HUB_HOSTS else registry


def _possible_keys(registry: str) -> frozenset[str]:
    return _DOCKER_HUB_HOSTS | {_DOCKER_HUB_KEY} if registry in _DOCKER_HUB_HOSTS else frozenset({registry})


def _prefixes(repository: str) -> Iterator[str]:
    """Yield *repository* and the folders above it, the longest first."""
    parts = repository.split("/") if repository else []
    yield from ("/".join(parts[:n]) for n in range(len(parts), 0, -1))


def _host_of(key: str) -> str:
    """Return the host in *key*, which may be written as a URL (`https://host/v2/`)."""
    scheme, separator, rest = key.partition("://")
    return (rest if separator else scheme).rstrip("/").removesuffix("/v1").removesuffix("/v2")


def _from_entry(entry: Any, where: str) -> Credentials | None:
    if not isinstance(entry, dict):
        raise ContentError(f"{where}: expected an object")
    if token := entry.get("registrytoken"):
        return Credentials(registry_token=str(token))
    if token := entry.get("identitytoken"):
        return Credentials(identity_token=str(token))
    if auth := entry.get("auth"):
        return _from_auth(str(auth), where)
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    return Credentials(username, password) if username else None


def _from_auth(auth: str, where: str) -> Credentials:
    try:
        username, colon, password = base64.b64decode(auth).decode().partition(":")
    except (binascii.Error, ValueError):
        username, colon, password = "", "", ""
    if not colon:
        # Neither the text nor the cause is shown: both hold the secret.
        raise ContentError(f"{where}.auth: expected base64 of NAME:PASSWORD", hint="log in again") from None
    return Credentials(username, password.rstrip("\0"))


def _to_auth(username: str, password: str) -> str:
    return base64.b64encode(f"{username}:{password}".encode()).decode("ascii")
