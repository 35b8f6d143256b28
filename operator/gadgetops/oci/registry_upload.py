"""Sending a blob to a registry: taken over from another repository, in one go, or in parts that resume."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import urlencode, urlsplit

from gadgetops.errors import RegistryError
from gadgetops.oci.content import Descriptor
from gadgetops.oci.registry_failures import shown
from gadgetops.oci.registry_http import Answer, Transport

PART_BYTES: Final = 8 << 20
"""A blob up to this size is sent in one request; a larger one in parts of this size."""

MAX_PART_BYTES: Final = 64 << 20
"""A registry that wants larger parts (`OCI-Chunk-Min-Length`) gets this size."""

_MAX_RESTARTS = 3
_LOST = frozenset({404, 416})


class Upload:
    """One blob on its way to one repository."""

    def __init__(self, transport: Transport, uploads_url: str, descriptor: Descriptor) -> None:
        self._transport = transport
        self._uploads_url = uploads_url
        self._descriptor = descriptor

    def send(self, chunks: Iterable[bytes], *, mount_from: str | None = None) -> None:
        """
        Send *chunks*, unless the registry takes the blob over from its own repository *mount_from*.

        A registry that forgot a half-sent blob gets it again, if *chunks* can be read again.

        Raises:
            ContentError: *chunks* is not what was described; the registry forgets what it got of it.
            RegistryError: The registry refused, or could not be asked.
        """
        session = self._start(mount_from)
        for _ in range(_MAX_RESTARTS):
            if session is None:
                return
            try:
                self._send_to(session, self._descriptor.verified(chunks))
            except _LostError as lost:
                if iter(chunks) is chunks:
                    raise lost.error from None
                session = self._start(None)
            except BaseException:
                self._cancel(session)
                raise
            else:
                return
        raise RegistryError("PUT", shown(self._uploads_url), "the registry forgets each upload it began")

    def _start(self, mount_from: str | None) -> "_Session | None":
        """Return a new upload session, None if the blob was mounted."""
        if mount_from is None:
            answer = self._transport.request("POST", self._uploads_url, data=b"")
        else:
            query = urlencode({"mount": self._descriptor.digest, "from": mount_from})
            url = f"{self._uploads_url}?{query}"
            answer = self._transport.request("POST", url, data=b"", action=f"mount {mount_from}")
        return None if answer.status == 201 else _Session(self._location(self._uploads_url, answer), answer)

    def _send_to(self, session: "_Session", chunks: Iterator[bytes]) -> None:
        if self._descriptor.size_bytes <= session.part_bytes:
            self._finish(session, b"".join(chunks))
            return
        offset = 0
        for part in _parts(chunks, session.part_bytes):
            self._send_part(session, part, offset)
            offset += len(part)
        self._finish(session, b"")

    def _send_part(self, session: "_Session", part: bytes, offset: int) -> None:
        """Send the bytes from *offset* on; after a failure only what the registry says it does not have."""
        end, sent = offset + len(part), offset
        for _ in range(self._transport.patience.attempts):
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Range": f"{sent}-{end - 1}",
            }
            try:
                answer = self._transport.request(
                    "PATCH", session.url, data=part[sent - offset :], headers=headers, attempts=1
                )
            except RegistryError as error:
                failure = error
                sent = self._received(session, error)
                if not offset <= sent <= end:
                    raise _LostError(error) from error
                if sent == end:
                    return
            else:
                session.url = self._location(session.url, answer)
                return
        raise failure

    def _received(self, session: "_Session", failure: RegistryError) -> int:
        """Return how many bytes the registry has; `_LostError` if it does not know the upload any more."""
        if (
            failure.status is not None
            and 400 <= failure.status < 500
            and failure.status not in (*_LOST, 408, 429)
        ):
            raise failure
        answer = self._transport.request("GET", session.url, allow=_LOST)
        if answer.status in _LOST:
            raise _LostError(failure) from failure
        session.url = self._location(session.url, answer)
        last = answer.headers.get("Range", "").rpartition("-")[2]
        if not (last.isascii() and last.isdigit()):
            raise _LostError(failure) from failure
        # "0-0" is what registries say of both nothing and one byte: parts are never that small.
        return int(last) + 1 if int(last) else 0

    def _finish(self, session: "_Session", rest: bytes) -> None:
        separator = "&" if urlsplit(session.url).query else "?"
        url = f"{session.url}{separator}{urlencode({'digest': self._descriptor.digest})}"
        headers = {"Content-Type": "application/octet-stream"}
        answer = self._transport.request("PUT", url, data=rest, headers=headers, allow=_LOST)
        if answer.status in _LOST:
            raise _LostError(RegistryError("PUT", shown(url), "it forgot the upload", status=answer.status))

    def _cancel(self, session: "_Session") -> None:
        with contextlib.suppress(RegistryError):
            self._transport.request("DELETE", session.url, attempts=1)

    def _location(self, url: str, answer: Answer) -> str:
        location = answer.headers.get("Location")
        if not location:
            raise RegistryError("POST", shown(url), "the registry does not say where to send the blob")
        return self._transport.resolve_url(url, location)


class _Session:
    """Where an upload goes on, which changes with each answer."""

    def __init__(self, url: str, answer: Answer) -> None:
        self.url = url
        minimum = answer.headers.get("OCI-Chunk-Min-Length", "")
        wanted = int(minimum[:12]) if minimum.isascii() and minimum.isdigit() else 0
        self.part_bytes = min(max(PART_BYTES, wanted), MAX_PART_BYTES)


class _LostError(Exception):
    """The registry does not know the upload any more."""

    def __init__(self, error: RegistryError) -> None:
        super().__init__(str(error))
        self.error = error


def _parts(chunks: Iterable[bytes], part_bytes: int) -> Iterator[bytes]:
    """Yield the bytes of *chunks* in parts of *part_bytes*, the last one shorter."""
    part = bytearray()
    for chunk in chunks:
        part += chunk
        while len(part) >= part_bytes:
            yield bytes(part[:part_bytes])
            del part[:part_bytes]
    if part:
        yield bytes(part)
