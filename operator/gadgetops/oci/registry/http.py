"""
HTTP with a registry: one request at a time, with proof of who asks, patience, redirects and limits.

oras-py holds the connection: its session, without cookies, and the places of the API. Its `do_request` is
not used: it keeps one token for everything, waits 131 s before it reports a dead port, and does not wait when
told to (429).
"""

import ipaddress
import random
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar, Union
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

import oras.provider
import requests
import requests.adapters
import urllib3

from gadgetops.errors import RegistryError
from gadgetops.oci.registry.access import Access, Patience
from gadgetops.oci.registry.auth import Authenticator
from gadgetops.oci.registry.certificates import tls_context
from gadgetops.oci.registry.credentials import Credentials, find_credentials
from gadgetops.oci.registry.failures import (
    api_host,
    error_of_answer,
    error_of_failure,
    is_hopeless,
    retry_after,
    shown,
    too_long_a_wait,
)

MAX_ERROR_BYTES: Final = 8 << 10
"""No more of an error's body is read."""

MAX_REDIRECTS: Final = 5
CHUNK_BYTES: Final = 1 << 18
"""How much of a body is held in memory at a time."""

_TIMEOUTS_S: Final = (10.0, 60.0)
"""Seconds to connect, and to wait for the next bytes."""
_MAX_GREETING_BYTES = 1 << 20
_NO_PROXIES: Final = {"http": "", "https": "", "all": ""}
_WORTH_ANOTHER_TRY = frozenset({408, 425, 429, 500, 502, 503, 504, *range(520, 525)})
"""What passes, by HTTP, and by those who sit in front of registries (520 to 524: Cloudflare)."""

_HIDDEN: Final = frozenset({403, 404})
_SEE_OTHER: Final = 303
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

Outcome = TypeVar("Outcome")
Body = Union[bytes, "Content", None]
_Place = tuple[str, str | None, int | None]


class Content:
    """
    A body to send that is not held in memory, and can be read as often as the request is made.

    Args:
        chunks: Its bytes, which begin anew with each iteration.
        size_bytes: How many they are.
    """

    def __init__(self, chunks: Iterable[bytes], size_bytes: int) -> None:
        self._chunks = chunks
        self._size_bytes = size_bytes

    def __len__(self) -> int:
        """Return how many bytes it has."""
        return self._size_bytes

    def __iter__(self) -> Iterator[bytes]:
        """Yield its bytes."""
        return iter(self._chunks)


@dataclass(frozen=True)
class Answer:
    """
    What a registry said.

    Attributes:
        status: HTTP status.
        headers: Headers; keys in any case.
        body: The whole body, bounded; empty for HEAD.
        url: Where it came from, after redirects.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class Transport(oras.provider.Registry):  # type: ignore[misc]  # oras has no types
    """Requests to one registry, from any number of threads."""

    def __init__(self, host: str, access: Access, repository: str = "") -> None:
        super().__init__(hostname=api_host(host), insecure=host in access.plain_http)
        self.host = host
        self._access = access
        self._repository = repository
        self._authenticator = Authenticator(
            host, lambda: self._credentials, self._ask_token_service, repository
        )
        # Otherwise requests would send what ~/.netrc has, even to where a redirect leads.
        self.session.auth = _leave_alone
        self.session.headers["User-Agent"] = "gadgetops"
        # What is kept for this host is for nobody else: neither a token service nor where a redirect leads.
        self.session.mount("https://", _Adapter(tls_context("", access.ca_file), pool_maxsize=16))
        own = _Adapter(tls_context(host, access.ca_file), pool_maxsize=16)
        self.session.mount(f"https://{self.hostname}/", own)

    @property
    def base_url(self) -> str:
        """Scheme and host, without a slash at the end."""
        return f"{self.prefix}://{self.hostname}"

    def request(
        self,
        method: str,
        url: str,
        *,
        action: str | None = None,
        data: Body = None,
        headers: Mapping[str, str] | None = None,
        allow: frozenset[int] = frozenset(),
        limit_bytes: int = MAX_ERROR_BYTES,
        attempts: int | None = None,
    ) -> Answer:
        """
        Ask and return the answer, its body read whole.

        Args:
            method: HTTP method.
            url: Where, complete.
            action: For what kind of request a proof of who we are is valid; by the method if not given.
            data: Body to send.
            headers: Headers to send.
            allow: Statuses from 400 on that are answers and no errors.
            limit_bytes: A longer body is refused.
            attempts: How often to try at most, if not as often as patience allows.

        Raises:
            RegistryError: No answer came, or one that is an error, after all attempts.
        """

        def ask() -> Answer:
            with self._send(method, url, action=action, data=data, headers=headers) as response:
                self._raise_for_status(response, allow)
                body = _read(response, limit_bytes)
                return Answer(response.status_code, response.headers, body, response.url)

        return self._patiently(method, url, ask, attempts)

    def check_login(self) -> bool:
        """
        Ask for nothing but to be let in; whether the registry wanted to know who we are.

        Raises:
            Unauthorized: It does not believe it.
        """
        self.request("GET", self._greeting_url, action="login", limit_bytes=_MAX_GREETING_BYTES)
        return self._authenticator.proof("login") is not None

    def open(self, url: str, *, headers: Mapping[str, str], allow: frozenset[int]) -> requests.Response:
        """Return the answer to GET *url*, its body still to be read (`pieces`); errors as of `request`."""

        def ask() -> requests.Response:
            response = self._send("GET", url, headers=headers)
            try:
                self._raise_for_status(response, allow)
            except BaseException:
                response.close()
                raise
            return response

        return self._patiently("GET", url, ask)

    @property
    def patience(self) -> Patience:
        """What to do when a request fails."""
        return self._access.patience

    def _patiently(
        self, method: str, url: str, ask: Callable[[], Outcome], attempts: int | None = None
    ) -> Outcome:
        """Call *ask* until it succeeds, it makes no sense any more, or patience ends."""
        patience = self.patience
        attempts = attempts or patience.attempts
        for attempt in range(1, attempts + 1):
            try:
                return ask()
            except _StatusError as failure:
                wait_s = failure.retry_after_s
                if failure.status not in _WORTH_ANOTHER_TRY or attempt == attempts:
                    raise failure.error from None
                if wait_s is not None and wait_s > patience.longest_wait_s:
                    raise too_long_a_wait(failure.error, wait_s) from None
            except (requests.RequestException, urllib3.exceptions.HTTPError) as failure:
                wait_s = None
                if is_hopeless(failure) or attempt == attempts:
                    # Not "from": what requests says has the whole address, with its secrets.
                    raise error_of_failure(method, url, failure, self.host) from None
            backoff_s = patience.first_wait_s * 2 ** (attempt - 1) * random.uniform(0.5, 1)  # noqa: S311
            time.sleep(backoff_s if wait_s is None else wait_s)
        raise AssertionError("the last attempt returns or raises")

    def _send(
        self,
        method: str,
        url: str,
        *,
        action: str | None = None,
        data: Body = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Make a request, answer the challenge if one comes, and follow redirects."""
        action = action or ("pull" if method in ("GET", "HEAD") else "push")
        for _ in range(3):
            proof = self._authenticator.proof(action)
            response = self._follow(method, url, data, headers or {}, proof)
            challenge = self._challenge(response, proof)
            if challenge is None:
                break
            _discard(response)
            self._authenticator.answer(action, proof, challenge, method=method, url=shown(response.url))
        return response

    def _challenge(self, response: requests.Response, proof: str | None) -> str | None:
        """
        Return what the registry wants to be proved before it says more than *response*, None for nothing.

        Some hide from strangers what is there, and ask who they are only at the beginning of the API.
        """
        if not self._is_ours(response.url):
            return None
        if response.status_code == 401:
            return response.headers.get("WWW-Authenticate", "")
        if proof is None and response.status_code in _HIDDEN and response.url != self._greeting_url:
            return self._greeting
        return None

    @property
    def _greeting_url(self) -> str:
        return f"{self.base_url}/v2/"

    @cached_property
    def _greeting(self) -> str | None:
        """What the registry asks of strangers at the beginning of its API; None if it asks nothing."""
        with self._follow("GET", self._greeting_url, None, {}, None) as response:
            return response.headers.get("WWW-Authenticate") if response.status_code == 401 else None

    def _follow(
        self,
        method: str,
        url: str,
        data: Body,
        headers: Mapping[str, str],
        proof: str | None,
        at: _Place | None = None,
    ) -> requests.Response:
        """Ask, and follow redirects; *proof* is for the registry, or the place *at*, and for nobody else."""
        for _ in range(MAX_REDIRECTS + 1):
            sent = {"Accept-Encoding": "identity", **headers}
            if proof is not None and _origin(url) == (at or _origin(self.base_url)):
                sent["Authorization"] = proof
            response: requests.Response = self.session.request(
                method,
                url,
                data=data,
                headers=sent,
                stream=True,
                timeout=_TIMEOUTS_S,
                allow_redirects=False,
                proxies=_NO_PROXIES if _is_loopback(url) else None,
            )
            location = response.headers.get("Location")
            if response.status_code not in _REDIRECTS or location is None:
                return response
            _discard(response)
            url = self.resolve_url(url, location)
            if response.status_code == _SEE_OTHER and method != "HEAD":
                method, data = "GET", None
        raise RegistryError(method, shown(url), f"more than {MAX_REDIRECTS} redirects")

    def resolve_url(self, url: str, location: str) -> str:
        """
        Return where *location*, which *url* answered, leads.

        A registry behind what speaks TLS for it may name itself by HTTP: it is asked by HTTPS all the same.

        Raises:
            RegistryError: It leads from HTTPS to another host's HTTP.
        """
        # "v2/…" without a slash in front is meant to begin at the host.
        found = urljoin(url, f"/{location}" if location.startswith("v2/") else location)
        before, after = urlsplit(url), urlsplit(found)
        if before.scheme == "https" and after.scheme == "http" and after.hostname == before.hostname:
            return urlunsplit(after._replace(scheme="https", netloc=before.netloc))
        schemes = {"https"} if before.scheme == "https" else {"http", "https"}
        if after.scheme not in schemes:
            raise RegistryError("GET", shown(url), f"leads to {shown(found)!r}, which is not encrypted")
        return found

    def own_url(self, url: str, link: str) -> str:
        """Return where *link* of the list at *url* leads at this registry, whatever host it names."""
        found = urlsplit(urljoin(url, f"/{link}" if link.startswith("v2/") else link))
        return urlunsplit(found._replace(scheme=self.prefix, netloc=self.hostname, fragment=""))

    def _is_ours(self, url: str) -> bool:
        """Whether *url* is the registry itself: nobody else gets to see who we are."""
        return _origin(url) == _origin(self.base_url)

    def _raise_for_status(self, response: requests.Response, allow: frozenset[int]) -> None:
        if response.status_code < 300 or response.status_code in allow:
            return
        method = response.request.method or ""
        if response.status_code < 400:
            response.close()
            reason = "it answers that this is elsewhere, and not where"
            raise RegistryError(method, shown(response.url), reason, status=response.status_code)
        body = _read_some(response, MAX_ERROR_BYTES)
        response.close()
        error = error_of_answer(method, response.url, response.status_code, response.reason, body, self.host)
        raise _StatusError(error, response.status_code, retry_after(response.headers))

    @cached_property
    def _credentials(self) -> Credentials | None:
        return self._access.credentials or find_credentials(
            self.host, self._access.authfile, repository=self._repository
        )

    def _ask_token_service(
        self, method: str, url: str, *, params: list[tuple[str, str]], authorization: str | None
    ) -> bytes:
        if urlsplit(url).scheme not in ({"https"} if self.prefix == "https" else {"http", "https"}):
            raise RegistryError(
                method, shown(url), "the registry names a token service that is not encrypted"
            )
        asked = _with_query(url, params) if method == "GET" else url
        data = urlencode(params).encode() if method == "POST" else None
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if method == "POST" else {}

        def ask() -> bytes:
            with self._follow(method, asked, data, headers, authorization, at=_origin(url)) as response:
                self._raise_for_status(response, frozenset())
                return _read(response, MAX_TOKEN_BYTES)

        return self._patiently(method, url, ask)


MAX_TOKEN_BYTES: Final = 1 << 20
"""A token service's answer longer than this is refused."""


class _StatusError(Exception):
    """An answer that is an error, perhaps one that passes."""

    def __init__(self, error: RegistryError, status: int, retry_after_s: float | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.status = status
        self.retry_after_s = retry_after_s


class _Adapter(requests.adapters.HTTPAdapter):
    """HTTPS with the certificates of a context besides those that requests knows."""

    def __init__(self, context: ssl.SSLContext, **options: Any) -> None:
        self._context = context
        super().__init__(**options)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, ssl_context=self._context, **options)


def _leave_alone(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def pieces(response: requests.Response, *, decode: bool = False) -> Iterator[bytes]:
    """Yield the body of *response* piece by piece: the bytes sent, or, to *decode*, what they encode."""
    yield from response.raw.stream(CHUNK_BYTES, decode_content=decode)


def _discard(response: requests.Response) -> None:
    """Read what is left of *response*, if it is little, so that its connection can be used again."""
    _read_some(response, MAX_ERROR_BYTES)
    response.close()


def _read(response: requests.Response, limit_bytes: int) -> bytes:
    body = _read_some(response, limit_bytes + 1)
    if len(body) > limit_bytes:
        method = response.request.method or ""
        raise RegistryError(method, shown(response.url), f"an answer of more than {limit_bytes} bytes")
    return body


def _read_some(response: requests.Response, limit_bytes: int) -> bytes:
    body = bytearray()
    # Some send gzip whoever asks them not to.
    for piece in pieces(response, decode=True):
        body += piece
        if len(body) >= limit_bytes:
            break
    return bytes(body[:limit_bytes])


def _is_loopback(url: str) -> bool:
    """Return whether *url* is on this machine, where no proxy leads, whatever the environment says."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _with_query(url: str, params: list[tuple[str, str]]) -> str:
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, urlencode(params))))
    return urlunsplit(parts._replace(query=query, fragment=""))


def _origin(url: str) -> _Place:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
