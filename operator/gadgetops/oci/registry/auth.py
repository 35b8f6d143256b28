"""Proving to a registry who we are: answers to its challenges, HTTP Basic or tokens of a service it names."""

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urljoin, urlsplit

from gadgetops.errors import ContentError, RegistryError, Unauthorized
from gadgetops.oci.content import parse_object
from gadgetops.oci.registry.credentials import Credentials

_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_PARAMETER = re.compile(rf'(?P<name>{_WORD})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s",]+))')
_SCHEME = re.compile(rf"(?P<scheme>{_WORD})(?=[\s,]|$)")
_NO_SUCH_GRANT: Final = frozenset({400, 401, 404, 405, 501})
"""How token services answer OAuth2's POST if they know GET alone."""
_NO_GET: Final = frozenset({404, 405, 501})
"""How token services answer GET if they know OAuth2's POST alone."""

_Parameters = list[tuple[str, str]]


@dataclass(frozen=True)
class Challenge:
    """
    What a registry asks for with status 401 (RFC 9110, section 11.6.1).

    Attributes:
        scheme: `"basic"` or `"bearer"`, lower case; others are left to whoever knows them.
        parameters: `realm`, `service`, `scope`, names in lower case.
    """

    scheme: str
    parameters: dict[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """Return the challenges in the header `WWW-Authenticate`, in order; nothing if it makes no sense."""
    found: list[Challenge] = []
    place = 0
    while place < len(header):
        if found and (parameter := _PARAMETER.match(header, place)):
            value = re.sub(r"\\(.)", r"\1", parameter["quoted"] or "") or parameter["plain"] or ""
            found[-1].parameters.setdefault(parameter["name"].lower(), value)
            place = parameter.end()
        elif scheme := _SCHEME.match(header, place):
            found.append(Challenge(scheme["scheme"].lower(), {}))
            place = scheme.end()
        else:
            place += 1
    return found


class AskTokenService(Protocol):
    """How a token service is asked: the transport's, with its retries and limits."""

    def __call__(
        self, method: str, url: str, *, params: list[tuple[str, str]], authorization: str | None
    ) -> bytes:
        """Return the body of the answer; `RegistryError` unless it is a success."""
        ...


class Authenticator:
    """
    The proofs in use, one for each kind of request, renewed when the registry no longer takes them.

    A token is for what the challenge named: one that was given for pulling is never tried for pushing.
    """

    def __init__(
        self,
        host: str,
        credentials: Callable[[], Credentials | None],
        ask: AskTokenService,
        repository: str = "",
    ) -> None:
        self._host = host
        self._repository = repository
        self._credentials = credentials
        self._ask = ask
        self._proofs: dict[str, str] = {}
        self._lock = threading.Lock()

    def proof(self, action: str) -> str | None:
        """Return the header `Authorization` for requests of the kind *action*, None before any challenge."""
        return self._proofs.get(action)

    def answer(self, action: str, refused: str | None, header: str, *, method: str, url: str) -> None:
        """
        Get a proof for *action* after status 401.

        Args:
            action: The kind of request.
            refused: The proof that was sent; another thread may have renewed it since.
            header: `WWW-Authenticate` of the answer.
            method: Of the request, for errors.
            url: Of the request, for errors.

        Raises:
            Unauthorized: There is nothing to prove with, or what there is was refused.
        """
        with self._lock:
            if self._proofs.get(action) != refused:
                return
            try:
                self._proofs[action] = self._meet(parse_challenges(header), refused, action, url)
            except _RefusedError as error:
                self._proofs.pop(action, None)
                raise self._unauthorized(method, url, str(error)) from None

    def _meet(self, challenges: list[Challenge], refused: str | None, action: str, url: str) -> str:
        by_scheme = {challenge.scheme: challenge for challenge in reversed(challenges)}
        credentials = self._credentials()
        if credentials is not None and credentials.registry_token:
            return _not_again(
                f"Bearer {credentials.registry_token}", refused, "the registry token was refused"
            )
        if "bearer" in by_scheme and by_scheme["bearer"].parameters.get("realm"):
            try:
                return "Bearer " + self._token(by_scheme["bearer"].parameters, action, url)
            except (_RefusedError, RegistryError):
                # Where the registry takes a password as well, its token service has not the last word.
                if credentials is None or "basic" not in by_scheme or refused == credentials.basic:
                    raise
        # Some registries ask without saying how: Basic is the only proof that needs no more to be said.
        if "basic" not in by_scheme and challenges:
            raise _RefusedError("it asks for no proof that is known here (basic, bearer)")
        if credentials is None:
            raise _RefusedError("no credentials")
        return _not_again(credentials.basic, refused, "wrong username or password")

    def _token(self, parameters: Mapping[str, str], action: str, url: str) -> str:
        realm = urljoin(url, parameters.get("realm", ""))
        credentials = self._credentials()
        scopes = [("scope", scope) for scope in (parameters.get("scope") or self._scope(action)).split()]
        params = [("service", service)] if (service := parameters.get("service")) else []
        try:
            if credentials is not None and credentials.identity_token:
                token = self._refreshed(realm, credentials, params, scopes)
            else:
                token = self._given(realm, credentials, params, scopes)
        except RegistryError as error:
            if error.status not in (400, 401, 403):
                raise
            reason = "wrong username or password" if credentials is not None else "no credentials"
            raise _RefusedError(f"{reason} (says {urlsplit(realm).netloc})") from error
        return _token_in(token, realm)

    def _scope(self, action: str) -> str:
        """Return the scope that a challenge which names none is about (distribution, "Token Scope")."""
        verb, _, other = action.partition(" ")
        if verb == "login" or not self._repository:
            return ""
        own = f"repository:{self._repository}:{'pull' if verb == 'pull' else 'pull,push'}"
        return f"{own} repository:{other}:pull" if other else own

    def _given(
        self, realm: str, credentials: Credentials | None, params: _Parameters, scopes: _Parameters
    ) -> bytes:
        """Ask with the password, if there is one: by GET, or by OAuth2 where the service knows no GET."""
        proof = credentials.basic if credentials is not None else None
        try:
            return self._ask("GET", realm, params=[*params, *scopes], authorization=proof)
        except RegistryError as error:
            if credentials is None or error.status not in _NO_GET:
                raise
            grant = [("grant_type", "password"), ("username", credentials.username)]
            grant += [("password", credentials.password)]
            form = _form(grant, params, scopes)
            return self._ask("POST", realm, params=form, authorization=None)

    def _refreshed(
        self, realm: str, credentials: Credentials, params: _Parameters, scopes: _Parameters
    ) -> bytes:
        """Ask with the identity token: by OAuth2, or as a password where the service knows no OAuth2."""
        try:
            return self._ask("POST", realm, params=_refresh(credentials, params, scopes), authorization=None)
        except RegistryError as error:
            if error.status not in _NO_SUCH_GRANT:
                raise
            return self._ask("GET", realm, params=[*params, *scopes], authorization=credentials.basic)

    def _unauthorized(self, method: str, url: str, reason: str) -> Unauthorized:
        hint = f"run `gadgetops login {self._host}`"
        return Unauthorized(method, url, reason, status=401, hint=hint)


class _RefusedError(Exception):
    """Why no proof could be had."""


def _not_again(proof: str, refused: str | None, reason: str) -> str:
    if proof == refused:
        raise _RefusedError(reason)
    return proof


def _refresh(credentials: Credentials, params: _Parameters, scopes: _Parameters) -> _Parameters:
    grant = [("grant_type", "refresh_token"), ("refresh_token", credentials.identity_token)]
    return _form(grant, params, scopes)


def _form(grant: _Parameters, params: _Parameters, scopes: _Parameters) -> _Parameters:
    """Return the form that OAuth2 takes (distribution, "Token Authentication: OAuth2")."""
    scope = [("scope", " ".join(value for _, value in scopes))] if scopes else []
    return [*grant, ("client_id", "gadgetops"), *params, *scope]


def _token_in(answer: bytes, realm: str) -> str:
    try:
        members: dict[str, Any] = parse_object(answer, "answer of the token service")
    except ContentError:
        # The text around a mistake in JSON could be the token: neither it nor the cause is passed on.
        raise _RefusedError(f"{urlsplit(realm).netloc} sent no token") from None
    token = members.get("token") or members.get("access_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise _RefusedError(f"{urlsplit(realm).netloc} sent no token")
    return token
