"""
HTTP with a registry: one request at a time, with proof of who asks, patience, redirects and limits.

oras-py holds the connection: its session, without cookies, and the places of the API. Its `do_request`,
through which all of it goes, is replaced here: it keeps one token for everything, waits 131 s before it
reports a dead port, and does not wait when told to (429).
"""

import ipaddress
import random
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar
from urllib.parse import urljoin, urlsplit

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
_WORTH_ANOTHER_TRY = frozenset({408, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

Outcome = TypeVar("Outcome")
Body = bytes | None


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
        self._authenticator = Authenticator(host, lambda: self._credentials, self._ask_token_service)
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
        self.request("GET", f"{self.base_url}/v2/", action="login", limit_bytes=_MAX_GREETING_BYTES)
        return self._authenticator.proof("login") is not None

    def open(self, url: str, *, headers: Mapping[str, str], allow: frozenset[int]) -> requests.Response:
        """Return the answer to GET *url*, its body still to be read (`pieces`); errors as of `request`."""
        return self._stream("GET", url, headers=headers, allow=allow)

    def do_request(
        self,
        url: str,
        method: str = "GET",
        data: Any = None,
        headers: dict[str, str] | None = None,
        json: Any = None,
        stream: bool = False,
    ) -> requests.Response:
        """Make a request for the methods that oras defines, of which none needs a body; 404 is an answer."""
        del json
        response = self._stream(method, url, headers=headers or {}, allow=frozenset({404}), data=data)
        if not stream:
            _discard(response)
        return response

    def _stream(
        self, method: str, url: str, *, headers: Mapping[str, str], allow: frozenset[int], data: Body = None
    ) -> requests.Response:
        def ask() -> requests.Response:
            response = self._send(method, url, data=data, headers=headers)
            try:
                self._raise_for_status(response, allow)
            except BaseException:
                response.close()
                raise
            return response

        return self._patiently(method, url, ask)

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
            if response.status_code != 401 or not self._is_ours(response.url):
                break
            challenge = response.headers.get("WWW-Authenticate", "")
            _discard(response)
            self._authenticator.answer(action, proof, challenge, method=method, url=shown(url))
        return response

    def _follow(
        self, method: str, url: str, data: Body, headers: Mapping[str, str], proof: str | None
    ) -> requests.Response:
        for _ in range(MAX_REDIRECTS + 1):
            sent = {"Accept-Encoding": "identity", **headers}
            if proof is not None and self._is_ours(url):
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
        raise RegistryError(method, shown(url), f"more than {MAX_REDIRECTS} redirects")

    def resolve_url(self, url: str, location: str) -> str:
        """Return where *location*, which *url* answered, leads; `RegistryError` if from HTTPS to HTTP."""
        # "v2/…" without a slash in front is meant to begin at the host.
        found = urljoin(url, f"/{location}" if location.startswith("v2/") else location)
        schemes = {"https"} if url.startswith("https:") else {"http", "https"}
        if urlsplit(found).scheme not in schemes:
            raise RegistryError("GET", shown(url), f"leads to {shown(found)!r}, which is not encrypted")
        return found

    def _is_ours(self, url: str) -> bool:
        """Whether *url* is the registry itself: nobody else gets to see who we are."""
        return _origin(url) == _origin(self.base_url)

    def _raise_for_status(self, response: requests.Response, allow: frozenset[int]) -> None:
        if response.status_code < 400 or response.status_code in allow:
            return
        method = response.request.method or ""
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
        headers = {} if authorization is None else {"Authorization": authorization}

        def ask() -> bytes:
            with self.session.request(
                method,
                url,
                params=params if method == "GET" else None,
                data=params if method == "POST" else None,
                headers=headers,
                stream=True,
                timeout=_TIMEOUTS_S,
                allow_redirects=False,
                proxies=_NO_PROXIES if _is_loopback(url) else None,
            ) as response:
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


def pieces(response: requests.Response) -> Iterator[bytes]:
    """Yield the body of *response* piece by piece, exactly the bytes sent."""
    yield from response.raw.stream(CHUNK_BYTES, decode_content=False)


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
    for piece in pieces(response):
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


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
