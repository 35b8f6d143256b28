"""What went wrong with a request, in words: what the registry said, or why it could not be asked."""

import re
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3

from gadgetops.errors import ContentError, Denied, RegistryError, Unauthorized
from gadgetops.oci.content import parse_object

MAX_SHOWN_LENGTH: Final = 300
"""No more characters of a registry's text, or of a URL, are shown."""

_WANTS_CERTIFICATE = re.compile(
    "(?i)certificate.?required|alert (bad|unknown) (certificate|ca)|alert handshake"
)
_QUERY = re.compile(r"\?\S*")
_Explanation = tuple[str, str | None]


def shown(url: str) -> str:
    """Return *url* without what may be secret: user, query and fragment."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))[:MAX_SHOWN_LENGTH]


def error_of_answer(method: str, url: str, status: int, reason: str, body: bytes, host: str) -> RegistryError:
    """Return the error that an answer with *status* from *host* is; *body* may be anything."""
    codes, text = _errors_in(body)
    kind = {401: Unauthorized, 403: Denied}.get(status, RegistryError)
    hints = {
        401: f"run `gadgetops login {host}`",
        403: f"ask for the right to do this, or run `gadgetops login {host}` as somebody else",
        429: "the registry limits how often it is asked: log in, or try again later",
    }
    return kind(
        method, shown(url), text or one_line(reason), status=status, codes=codes, hint=hints.get(status)
    )


def error_of_failure(method: str, url: str, failure: Exception, host: str) -> RegistryError:
    """
    Return the error that *failure*, on the way to *host*, is.

    Where the address that failed is not the one of *host*, the registry named it, and the error says so.
    """
    asked = getattr(getattr(failure, "request", None), "url", None) or url
    reason, hint = _explain(failure, host)
    if not isinstance(failure, requests.exceptions.ProxyError) and urlsplit(asked).netloc != api_host(host):
        reason = f"{reason}: {host} itself named that address in the header Location"
        hint = "the registry does not know its own address: it is probably behind a proxy that hides it"
    return RegistryError(method, shown(asked), reason, hint=hint)


def api_host(host: str) -> str:
    """Return where the API of *host* is: Docker Hub's is not at the name that references have."""
    return "registry-1.docker.io" if host == "docker.io" else host


def too_long_a_wait(error: RegistryError, wait_s: float) -> RegistryError:
    """Return *error* of a registry that asks for more patience than we have."""
    hint = f"it asks to wait {wait_s:.0f} s: log in, or try again then"
    return type(error)(
        error.method, error.url, error.reason, status=error.status, codes=error.codes, hint=hint
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds the header `Retry-After` asks to wait (RFC 9110, section 10.2.3)."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment.replace(tzinfo=moment.tzinfo or UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def is_hopeless(failure: Exception) -> bool:
    """Whether the same request would fail the same way: wrong name, nobody listening, no trust."""
    hopeless = (
        ssl.SSLCertVerificationError,
        ConnectionRefusedError,
        urllib3.exceptions.NameResolutionError,
        requests.exceptions.InvalidURL,
    )
    return _is_no_tls(failure) or any(isinstance(cause, hopeless) for cause in _causes(failure))


def one_line(value: Any) -> str:
    """Return *value* as one bounded line that cannot control a terminal."""
    text = "".join(character if character.isprintable() else " " for character in str(value or ""))
    return text.strip()[:MAX_SHOWN_LENGTH]


def _errors_in(body: bytes) -> tuple[list[str], str]:
    """Return the codes and the messages in an error's *body* (distribution-spec v1.1.1, "Error Codes")."""
    try:
        errors = parse_object(body, "error").get("errors")
    except ContentError:
        return [], ""
    known = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    codes = [one_line(error.get("code")) for error in known[:5]]
    messages = [one_line(error.get("message")) for error in known[:5]]
    return [code for code in codes if code], "; ".join(message for message in messages if message)


def _causes(failure: BaseException) -> list[BaseException]:
    """Return *failure* and what it came from, through the wrappings of requests and urllib3."""
    found: list[BaseException] = []
    pending: list[Any] = [failure]
    while pending and len(found) < 32:
        cause = pending.pop()
        if isinstance(cause, BaseException) and cause not in found:
            found.append(cause)
            pending += [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
    return found


def _is_no_tls(failure: BaseException) -> bool:
    return any("WRONG_VERSION_NUMBER" in str(c) or "record layer failure" in str(c) for c in _causes(failure))


def _explain(failure: Exception, host: str) -> _Explanation:
    """Return what went wrong on the way to *host*, and what a person can do."""
    if _is_no_tls(failure):
        return "no TLS there", f"if it is meant to speak plain HTTP, pass --plain-http {host}"
    if isinstance(failure, requests.exceptions.ProxyError):
        return _explain_proxy(failure)
    if any(_WANTS_CERTIFICATE.search(str(cause)) for cause in _causes(failure)):
        return (
            "it wants a certificate of its clients, and takes none that is here",
            f"put NAME.cert and NAME.key into /etc/containers/certs.d/{host}/, or below ~/.config",
        )
    for cause in _causes(failure):
        for kind, explain in _EXPLANATIONS:
            if isinstance(cause, kind):
                return explain(cause, host)
    reason = _QUERY.sub("", one_line(_causes(failure)[-1]))
    return f"the connection was cut: {reason}", "try again"


def _explain_proxy(failure: requests.exceptions.ProxyError) -> _Explanation:
    url = getattr(failure.request, "url", None) or ""
    proxy = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))
    name = f"{urlsplit(url).scheme.upper()}_PROXY"
    return (
        f"the proxy {shown(proxy or '')} does not answer",
        f"check {name} and ALL_PROXY, or name the registry in NO_PROXY",
    )


def _explain_certificate(cause: BaseException, _host: str) -> _Explanation:
    reason = one_line(getattr(cause, "verify_message", "") or cause)
    if "self-signed" in reason or "self signed" in reason or "issuer" in reason:
        return f"its certificate is not trusted: {reason}", "pass its authority with --ca-file FILE.pem"
    return f"its certificate is not trusted: {reason}", None


def _explain_name(_cause: BaseException, host: str) -> _Explanation:
    name = urlsplit(f"//{host}").hostname
    return f"no host is named {name!r}", "check how it is spelled, and the network"


def _explain_refusal(_cause: BaseException, _host: str) -> _Explanation:
    return "nobody listens there", "check the port, and whether the registry runs"


def _explain_timeout(_cause: BaseException, _host: str) -> _Explanation:
    return "no answer in time", "try again"


_EXPLANATIONS: Final[list[tuple[type[BaseException], Callable[[BaseException, str], _Explanation]]]] = [
    (ssl.SSLCertVerificationError, _explain_certificate),
    (urllib3.exceptions.NameResolutionError, _explain_name),
    (ConnectionRefusedError, _explain_refusal),
    (requests.exceptions.Timeout, _explain_timeout),
]
