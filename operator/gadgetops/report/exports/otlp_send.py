"""Send OpenTelemetry profiles to `http://HOST:4318` or `grpc://HOST:4317`; `https` and `grpcs` use TLS."""

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from gadgetops import __version__
from gadgetops.errors import ExportRefused, UsageError
from gadgetops.questions.exports.profile import profile
from gadgetops.report.exports.export import Export
from gadgetops.report.exports.otlp import check_installed, requests_of

_PORTS: Final = {"http": 4318, "https": 4318, "grpc": 4317, "grpcs": 4317}
"""Schemes, and the port of each that OTLP has by default."""
_PATH: Final = "/v1development/profiles"
_METHOD: Final = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export"
_TIMEOUT_S: Final = 30
_SHOWN_CHARACTERS: Final = 400


def is_endpoint(text: str) -> bool:
    """Return whether *text* is an endpoint rather than a file."""
    return urlsplit(text).scheme in _PORTS and "://" in text


def send(export: Export, endpoint: str, headers: Mapping[str, str]) -> tuple[str, int]:
    """
    Send what is asked for to *endpoint*; return how sure it is, and how many bytes were sent.

    Args:
        export: What is sent.
        endpoint: A URL; without a port that of OTLP, without a path that of profiles.
        headers: Sent with each request, as for authorization.

    Raises:
        ExportRefused: Nobody answers there, or the answer is no.
        RecordingError: The recording could not be read.
        UsageError: A package is not installed.
    """
    check_installed()
    scheme = urlsplit(endpoint).scheme
    send_one = (_http if scheme.startswith("http") else _grpc)(endpoint, headers)
    found = profile(export.recording, export.filters)
    n_bytes = 0
    for message in requests_of(found):
        rejected, why = send_one(message)
        if rejected or why:
            raise ExportRefused(endpoint, f"{rejected:,} profiles rejected: {why[:_SHOWN_CHARACTERS]}")
        n_bytes += len(message)
    return found.certainty.word, n_bytes


def _http(endpoint: str, headers: Mapping[str, str]) -> Callable[[bytes], tuple[int, str]]:
    import requests  # noqa: PLC0415 - takes a tenth of a second

    url = urlsplit(endpoint)
    netloc = url.netloc if _has_port(endpoint) else f"{url.netloc}:{_PORTS[url.scheme]}"
    target = url._replace(netloc=netloc, path=_PATH if url.path in ("", "/") else url.path).geturl()
    own = {"Content-Type": "application/x-protobuf", "User-Agent": f"gadgetops/{__version__}"}

    def post(message: bytes) -> tuple[int, str]:
        try:
            answer = requests.post(target, data=message, headers={**own, **headers}, timeout=_TIMEOUT_S)
        except requests.RequestException as error:
            raise ExportRefused(target, _first_line(error)) from error
        if answer.status_code != requests.codes.ok:
            raise ExportRefused(
                target, f"{answer.status_code} {answer.reason}: {answer.text[:_SHOWN_CHARACTERS]}"
            )
        return _rejected(answer.content)

    return post


def _grpc(endpoint: str, headers: Mapping[str, str]) -> Callable[[bytes], tuple[int, str]]:
    try:
        import grpc  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(
            "an endpoint by gRPC needs the package `grpcio`",
            hint="install gadgetops[otlp], or send by http://",
        ) from error
    url = urlsplit(endpoint)
    if url.path not in ("", "/"):
        raise UsageError(f"{endpoint}: a gRPC endpoint has no path")
    target = url.netloc if _has_port(endpoint) else f"{url.netloc}:{_PORTS[url.scheme]}"
    channel = (
        grpc.insecure_channel(target)
        if url.scheme == "grpc"
        else grpc.secure_channel(target, grpc.ssl_channel_credentials())
    )
    call: Any = channel.unary_unary(_METHOD)
    metadata = [(key.lower(), value) for key, value in headers.items()]

    def export(message: bytes) -> tuple[int, str]:
        try:
            answer = call(message, timeout=_TIMEOUT_S, metadata=metadata)
        except grpc.RpcError as error:
            raise ExportRefused(endpoint, f"{error.code().name}: {error.details()}") from error
        return _rejected(answer)

    return export


def _rejected(answer: bytes) -> tuple[int, str]:
    """Return how many profiles an endpoint left out, and why."""
    from opentelemetry.proto.collector.profiles.v1development import (  # noqa: PLC0415
        profiles_service_pb2 as proto,
    )

    partial = proto.ExportProfilesServiceResponse.FromString(answer).partial_success
    return partial.rejected_profiles, partial.error_message


def _has_port(endpoint: str) -> bool:
    try:
        return urlsplit(endpoint).port is not None
    except ValueError as error:
        raise UsageError(f"{endpoint}: {error}") from error


def _first_line(error: Exception) -> str:
    reason = getattr(error.args[0], "reason", error) if error.args else error
    return str(reason).partition("\n")[0][:_SHOWN_CHARACTERS]
