"""Sending a blob to a registry: taken over from another repository, in one go, or in parts that resume."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from gadgetops.errors import DigestMismatch, RegistryError
from gadgetops.oci.content import Descriptor, is_other_digest
from gadgetops.oci.registry.failures import shown
from gadgetops.oci.registry.http import Answer, Content, Transport

PART_BYTES: Final = 8 << 20
"""A blob up to this size is sent in one request; a larger one in parts of this size."""

MAX_PART_BYTES: Final = 64 << 20
"""A registry that wants larger parts (`OCI-Chunk-Min-Length`) gets this size."""

MIN_PART_BYTES: Final = 1 << 10
"""A registry that refuses parts of this size as too large takes none."""

_MAX_RESTARTS = 3
_LOST = frozenset({404, 416})
_NO_PARTS = frozenset({400, 405, 411, 415, 501})
"""How registries answer PATCH if they take a blob in one request only; 404 as well, of uploads they know."""
_TOO_LARGE = frozenset({413, 416})
"""What registries say to a part that is larger than they, or a proxy in front of them, take."""


class Upload:
    """One blob on its way to one repository."""

    def __init__(self, transport: Transport, uploads_url: str, descriptor: Descriptor) -> None:
        self._transport = transport
        self._uploads_url = uploads_url
        self._descriptor = descriptor
        self._part_bytes = PART_BYTES
        self._takes_parts = True

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
                self._send_to(session, chunks)
            except _LostError as lost:
                if iter(chunks) is chunks:
                    raise lost.error from None
                self._part_bytes = session.part_bytes
                session = self._start(None)
            except BaseException:
                self._cancel(session)
                raise
            else:
                return
        raise RegistryError("PUT", shown(self._uploads_url), "the registry forgets each upload it began")

    def _start(self, mount_from: str | None) -> "_Session | None":
        """Return a new upload session, None if the blob was mounted."""
        answer = self._mount(mount_from) if mount_from is not None else None
        if answer is not None and answer.status == 201:
            return None
        if answer is None or self._place_in(self._uploads_url, answer) is None:
            answer = self._transport.request("POST", self._uploads_url, data=b"")
        place = self._place_in(self._uploads_url, answer)
        if place is None:
            reason = "the registry does not say where to send the blob"
            raise RegistryError("POST", shown(self._uploads_url), reason)
        return _Session(place, answer, self._part_bytes)

    def _mount(self, mount_from: str) -> Answer | None:
        """Ask for the blob of *mount_from*; None if that is refused, for whatever reason: it is sent then."""
        query = urlencode({"mount": self._descriptor.digest, "from": mount_from})
        try:
            return self._transport.request(
                "POST", f"{self._uploads_url}?{query}", data=b"", action=f"mount {mount_from}", attempts=1
            )
        except RegistryError as error:
            if error.status is None:
                raise
            return None

    def _send_to(self, session: "_Session", chunks: Iterable[bytes]) -> None:
        if self._descriptor.size_bytes <= session.part_bytes:
            self._finish(session, b"".join(self._descriptor.verified(chunks)))
            return
        if not self._takes_parts:
            self._finish(session, Content(_Verified(self._descriptor, chunks), self._descriptor.size_bytes))
            return
        offset = 0
        for part in _parts(self._descriptor.verified(chunks), session.part_bytes):
            self._send_part(session, part, offset)
            offset += len(part)
        self._finish(session, b"")

    def _send_part(self, session: "_Session", part: bytes, offset: int) -> None:
        """
        Send the bytes from *offset* on; after a failure only what the registry says it does not have.

        What is too large for it goes in smaller parts.
        """
        end, sent = offset + len(part), offset
        failures = 0
        while sent < end:
            until = min(sent + session.part_bytes, end)
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Range": f"{sent}-{until - 1}",
            }
            try:
                answer = self._transport.request(
                    "PATCH",
                    session.url,
                    data=part[sent - offset : until - offset],
                    headers=headers,
                    attempts=1,
                )
            except RegistryError as error:
                before = sent
                if before or error.status not in _NO_PARTS:
                    sent = self._received(session, error)
                if before == sent == 0 and error.status in (*_NO_PARTS, 404):
                    self._takes_parts = False
                    raise _LostError(error) from error
                if not offset <= sent <= end:
                    raise _LostError(error) from error
                is_smaller = error.status in _TOO_LARGE and sent == before and session.halve_parts()
                failures += not is_smaller
                if failures >= self._transport.patience.attempts:
                    raise
            else:
                session.move(self._place_in(session.url, answer))
                sent = until

    def _received(self, session: "_Session", failure: RegistryError) -> int:
        """Return how many bytes the registry has; `_LostError` if it does not know the upload any more."""
        if (
            failure.status is not None
            and 400 <= failure.status < 500
            and failure.status not in (*_LOST, *_TOO_LARGE, 408, 429)
        ):
            raise failure
        try:
            answer = self._transport.request("GET", session.url)
        except RegistryError as error:
            # Whoever cannot say what has arrived gets all of it again.
            raise _LostError(failure) from error
        session.move(self._place_in(session.url, answer))
        last = answer.headers.get("Range", "").rpartition("-")[2]
        if not (last.isascii() and last.isdigit()):
            raise _LostError(failure) from failure
        # "0-0" is what registries say of both nothing and one byte: parts are never that small.
        return int(last) + 1 if int(last) else 0

    def _finish(self, session: "_Session", rest: bytes | Content) -> None:
        scheme, host, path, query, _ = urlsplit(session.url)
        digest = urlencode({"digest": self._descriptor.digest})
        url = urlunsplit((scheme, host, path, f"{query}&{digest}" if query else digest, ""))
        headers = {"Content-Type": "application/octet-stream"}
        answer = self._transport.request("PUT", url, data=rest, headers=headers, allow=_LOST | _TOO_LARGE)
        if answer.status < 400:
            stored = answer.headers.get("Docker-Content-Digest", "")
            if is_other_digest(stored, self._descriptor.digest):
                raise DigestMismatch(shown(url), expected=self._descriptor.digest, actual=stored)
            return
        is_too_large = answer.status == 413 or (answer.status in _TOO_LARGE and rest)
        reason = f"{len(rest)} bytes are too many for it" if is_too_large else "it forgot the upload"
        error = RegistryError("PUT", shown(url), reason, status=answer.status)
        if is_too_large and (isinstance(rest, Content) or not session.shrink_below(len(rest))):
            raise error
        raise _LostError(error)

    def _cancel(self, session: "_Session") -> None:
        with contextlib.suppress(RegistryError):
            self._transport.request("DELETE", session.url, attempts=1)

    def _place_in(self, url: str, answer: Answer) -> str | None:
        """Return where *answer*, which *url* gave, says that the upload goes on; None if it does not say."""
        location = answer.headers.get("Location")
        if location:
            return self._transport.resolve_url(url, location)
        # Registries without that header gave the upload's name in this one before (Docker's, until 2015).
        name = answer.headers.get("Docker-Upload-UUID", "")
        return f"{self._uploads_url}{quote(name, safe='')}" if name and url == self._uploads_url else None


class _Verified:
    """The bytes of *chunks*, checked against *descriptor* each time they are read."""

    def __init__(self, descriptor: Descriptor, chunks: Iterable[bytes]) -> None:
        self._descriptor = descriptor
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return self._descriptor.verified(self._chunks)


class _Session:
    """Where an upload goes on, which changes with each answer."""

    def __init__(self, url: str, answer: Answer, part_bytes: int) -> None:
        self.url = url
        minimum = answer.headers.get("OCI-Chunk-Min-Length", "")
        wanted = int(minimum[:12]) if minimum.isascii() and minimum.isdigit() else 0
        self._least_bytes = max(MIN_PART_BYTES, wanted)
        self.part_bytes = min(max(part_bytes, wanted), MAX_PART_BYTES)

    def move(self, url: str | None) -> None:
        """Go on at *url*; where none is named, where it was."""
        self.url = url or self.url

    def halve_parts(self) -> bool:
        """Send smaller parts from now on; False if they are as small as they may be."""
        if self.part_bytes // 2 < self._least_bytes:
            return False
        self.part_bytes //= 2
        return True

    def shrink_below(self, size_bytes: int) -> bool:
        """Send parts of less than *size_bytes* from now on; False if they would be too small."""
        while self.part_bytes >= size_bytes:
            if not self.halve_parts():
                return False
        return True


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
