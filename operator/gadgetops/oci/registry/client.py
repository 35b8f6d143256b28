"""
Registries: the repository of a registry as a place to copy images from and to (distribution-spec v1.1.1).

Nothing is believed because a registry says so: content is checked against the digest and size it was asked
for by, answers are bounded, and a tag is written only after everything under it.
"""

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Final

import oras.container
import requests
import urllib3

from gadgetops.errors import (
    ContentError,
    DigestMismatch,
    NotFound,
    RegistryError,
    UnsupportedMediaType,
)
from gadgetops.oci.attachments import ATTACHMENT_SUFFIXES, as_referrer, gather, signed_digest
from gadgetops.oci.content import (
    INDEX_MEDIA_TYPES,
    MANIFEST_MEDIA_TYPES,
    MAX_MANIFEST_BYTES,
    MEDIA_TYPE_INDEX,
    Descriptor,
    Index,
    Manifest,
    digest_of,
    document_media_type,
    is_digest,
    is_other_digest,
    parse_object,
)
from gadgetops.oci.graph import children_of
from gadgetops.oci.reference import Reference
from gadgetops.oci.registry.access import Access
from gadgetops.oci.registry.failures import error_of_failure, shown
from gadgetops.oci.registry.http import Answer, Transport, pieces
from gadgetops.oci.registry.upload import Upload

MAX_PAGES: Final = 10_000
"""A list that goes on after so many pages is refused."""

_ACCEPT: Final = {"Accept": ", ".join(sorted(INDEX_MEDIA_TYPES | MANIFEST_MEDIA_TYPES))}
_ACCEPT_ANY: Final = {"Accept": "*/*"}
_NOT_ACCEPTABLE = frozenset({406})
_MAX_CACHED_BYTES = 32 << 20
_MAX_CUTS = 50
_NOT_FOUND = frozenset({404})
_PARTIAL: Final = 206
_REFUSED_RANGE = frozenset({400, 405, 416, 501})
"""How registries answer a range that they do not give; 416 also where nothing is left."""

_CONTENT_RANGE = re.compile(r"bytes (?P<start>\d{1,18})-", re.ASCII)
_UNKNOWN_PARTS = frozenset({"BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN"})
"""How registries say that a manifest names what they lack, or, if they are many machines, do not know yet."""

_REFUSED_QUERY = frozenset({400, 405, 414, 422})
_PASSING = frozenset({408, 429, 502, 503, 504})
_TAGS_PER_PAGE: Final = 1000
_MEDIA_TYPES: Final = INDEX_MEDIA_TYPES | MANIFEST_MEDIA_TYPES
_LINK = re.compile(r"<(?P<url>[^>]*)>\s*;[^,]*\brel=\"?next\"?", re.ASCII)


class Repository:
    """
    A repository of a registry: a source and a target of content, for any number of threads.

    Attributes:
        name: Host and repository: `"localhost:5000/trace_malloc"`.
        host: `"localhost:5000"`.
        repository: `"trace_malloc"`.
        mount_from: A repository of the same registry that blobs may be taken over from, None for none.
    """

    def __init__(self, transport: Transport, repository: str) -> None:
        self.name = f"{transport.host}/{repository}"
        self.mount_from: str | None = None
        self._transport = transport
        self.host = transport.host
        self.repository = repository
        self._places = _places(transport, repository)
        self._documents: dict[str, bytes] = {}
        self._has_referrers_api: bool | None = None
        self._listed_by_itself: set[str] = set()
        self._lock = threading.Lock()

    @classmethod
    def open(cls, reference: Reference, access: Access | None = None) -> "Repository":
        """Return the repository of *reference*; nothing is asked yet."""
        return cls(
            Transport(reference.registry, access or Access(), reference.repository), reference.repository
        )

    def __str__(self) -> str:
        """Return registry and repository."""
        return self.name

    def resolve(self, reference: Reference | str) -> Descriptor:
        """
        Return what *reference* stands for here: a reference, a tag or a digest.

        Raises:
            NotFound: Nothing here has that name.
            DigestMismatch: The registry answers with something else than the digest asked for.
            RegistryError: The registry could not be asked.
        """
        name = _tag_or_digest(reference)
        return self._checked(name, self._resolve_by_head(name) or self._resolve_by_get(name))

    def _checked(self, name: str, found: Descriptor | None) -> Descriptor:
        if found is None:
            hint = f"`gadgetops list --remote {self.name}` shows its tags"
            raise NotFound(name, where=self.name, hint=hint)
        if is_digest(name) and found.digest != name:
            raise DigestMismatch(self.name, expected=name, actual=found.digest)
        return found

    def fetch_root(self, reference: Reference | str) -> Descriptor:
        """
        Return what *reference* stands for, as `resolve`, and have its content at hand.

        The content says what it is: what headers say of it does not count.
        """
        name = _tag_or_digest(reference)
        found = self._checked(name, self._resolve_by_get(name))
        if found.media_type not in _MEDIA_TYPES:
            expected = "an index or a manifest of the second schema"
            raise UnsupportedMediaType(f"{self.name}: {name}", expected=expected, actual=found.media_type)
        return found

    def find(self, name: str) -> Descriptor | None:
        """Return what the tag or digest *name* stands for, None if nothing is there."""
        try:
            return self.resolve(name)
        except NotFound:
            return None

    def chunks(self, descriptor: Descriptor) -> Iterator[bytes]:
        """
        Yield the content of *descriptor* piece by piece; believe it only when all of it has come.

        A cut connection is taken up again where it was cut.

        Raises:
            NotFound: It is not here.
            SizeMismatch: It is shorter or longer than described.
            DigestMismatch: It is other bytes.
            RegistryError: The registry could not be asked.
        """
        if descriptor.is_index or descriptor.is_manifest:
            yield from descriptor.verified([self._document(descriptor)])
        else:
            yield from descriptor.verified(self._blob(descriptor))

    def fetch(self, descriptor: Descriptor) -> bytes:
        """Return the whole content of *descriptor*, verified; errors as of `chunks`."""
        return b"".join(self.chunks(descriptor))

    def has(self, descriptor: Descriptor) -> bool:
        """Return whether the content is here, without reading it."""
        if descriptor.is_index or descriptor.is_manifest:
            return self.find(descriptor.digest) is not None
        try:
            answer = self._transport.request("HEAD", self._blob_url(descriptor), allow=_NOT_FOUND)
        except RegistryError as error:
            if error.status is None:
                raise
            # To send it again does no harm, and fails with a clearer answer if it may not be sent.
            return False
        # Some answer HEAD with success whatever is asked for.
        size = answer.headers.get("Content-Length", "")
        return answer.status == 200 and size in ("", "0", str(descriptor.size_bytes))

    def add(self, descriptor: Descriptor, chunks: Iterable[bytes]) -> None:
        """
        Store the content of *descriptor*, unless it is here already; then *chunks* is not asked.

        Raises:
            SizeMismatch: *chunks* yields more or less than described; nothing is stored.
            DigestMismatch: *chunks* yields other bytes, or the registry says that it got others.
            RegistryError: The registry refused, or could not be asked.
        """
        if self.has(descriptor):
            return
        if descriptor.is_index or descriptor.is_manifest:
            self._put_manifest(descriptor.digest, descriptor, b"".join(descriptor.verified(chunks)))
        else:
            Upload(self._transport, self._uploads_url, descriptor).send(chunks, mount_from=self.mount_from)

    def add_blob(self, data: bytes, media_type: str) -> Descriptor:
        """Store *data*, a blob or manifest as *media_type* says, and return its descriptor."""
        descriptor = Descriptor.of(data, media_type)
        self.add(descriptor, [data])
        return descriptor

    def tag(self, descriptor: Descriptor, *tags: str) -> None:
        """
        Let each of *tags* stand for *descriptor*, which is here, with everything under it.

        A tag that does so already is left alone: where tags are immutable, writing it again is refused.
        """
        for tag in tags:
            if not self._is_tagged(tag, descriptor):
                self._put_manifest(tag, descriptor, self.fetch(descriptor))

    def tags(self) -> Iterator[str]:
        """Yield the tags, in the registry's order, page by page."""
        for data in self._pages(f"{self._url}/tags/list", "tags", f"?n={_TAGS_PER_PAGE}"):
            tags = parse_object(data, f"{self.name}: tags").get("tags") or []
            if not isinstance(tags, list):
                raise ContentError(f"{self.name}: tags: expected an array")
            yield from (tag for tag in tags if isinstance(tag, str))

    def referrers(self, digest: str) -> list[Descriptor]:
        """
        Return the manifests whose subject is *digest* (signatures, say), sorted by digest.

        Where the registry has no referrers API, those listed in the index with the tag `sha256-<hex>`
        (distribution-spec v1.1.1, "Referrers Tag Schema").
        """
        # Where the API lists nothing, others may have listed something when it was not there yet.
        listed = self._referrers_by_api(digest) or self._referrers_by_tag(digest)
        return sorted({each.digest: each for each in listed}.values(), key=lambda each: each.digest)

    def publish(self, named: Mapping[str, Descriptor], untagged: Iterable[Descriptor] = ()) -> None:
        """
        Let the tags *named* stand for what is here, in order, after listing the referrers among *untagged*.

        A registry with a referrers API lists them by itself; elsewhere an index with a tag does, which others
        may be changing at the same time.

        Raises:
            RegistryError: The registry refused, or could not be asked; tags not yet written are not.
        """
        for subject, referrers in self._by_subject(untagged).items():
            if self._listed_by_itself.issuperset(each.digest for each in referrers):
                continue
            listed = {each.digest for each in self._referrers_by_api(subject) or ()}
            missing = [each for each in referrers if each.digest not in listed | self._listed_by_itself]
            if missing:
                self.list_referrers(subject, missing)
        for tag, descriptor in named.items():
            signed = signed_digest(tag)
            if signed is not None and tag == _referrers_tag(signed) and descriptor.is_index:
                self._merge_referrers(signed, descriptor)
            else:
                self.tag(descriptor, tag)

    def list_referrers(self, subject: str, referrers: Iterable[Descriptor]) -> None:
        """Add *referrers* to the index that lists those of the digest *subject*, unless they are there."""
        missing = {each.digest: each for each in referrers}
        for _ in range(self._transport.patience.attempts):
            known = self._referrers_by_tag(subject)
            for each in known:
                missing.pop(each.digest, None)
            if not missing:
                return
            index = Index(manifests=(*known, *missing.values()))
            data = index.to_bytes()
            self._put_manifest(_referrers_tag(subject), Descriptor.of(data, MEDIA_TYPE_INDEX), data)
        raise RegistryError("PUT", self._manifest_url(_referrers_tag(subject)), "others keep changing it")

    def with_attachments(self, roots: Iterable[Descriptor]) -> tuple[list[Descriptor], dict[str, Descriptor]]:
        """
        Return all under *roots* with what is attached to it, children first, and its signature tags by name.

        A referrer that is listed and gone, as deleting leaves it, is left out.

        Raises:
            ContentError: A manifest is missing or damaged.
            RegistryError: The registry could not be asked.
        """
        return gather(
            roots,
            partial(children_of, self),
            referrers=lambda node: [each for each in self.referrers(node.digest) if self.has(each)],
            tags=self._attached_tags,
        )

    def _attached_tags(self, digest: str) -> dict[str, Descriptor]:
        """Return the tags that say something about *digest*; nothing lists them, so each is asked for."""
        names = [f"{_referrers_tag(digest)}{suffix}" for suffix in ATTACHMENT_SUFFIXES]
        with ThreadPoolExecutor(len(names)) as pool:
            found = {name: each for name, each in zip(names, pool.map(self.find, names), strict=True) if each}
        listing = found.get(_referrers_tag(digest))
        if listing is not None and not all(map(self.has, children_of(self, listing))):
            # It lists what was deleted. It cannot come along as it is; what it lists and is there, can.
            del found[_referrers_tag(digest)]
        return found

    def _merge_referrers(self, subject: str, index: Descriptor) -> None:
        """Let the referrers tag of *subject* have what *index* lists, and what it had before."""
        if self._referrers_by_tag(subject):
            listed = Index.from_bytes(self.fetch(index), f"index {index.digest}").manifests
            self.list_referrers(subject, listed)
        else:
            self.tag(index, _referrers_tag(subject))

    def _referrers_by_api(self, digest: str) -> list[Descriptor] | None:
        """Return what the registry lists, None if it has no referrers API, however it says so."""
        if self._has_referrers_api is False:
            return None
        found: list[Descriptor] = []
        try:
            for page in self._pages(f"{self._url}/referrers/{digest}", "referrers"):
                if not self._has_referrers_api and not _is_listing(page):
                    self._has_referrers_api = False
                    return None
                found += Index.from_bytes(page, f"{self.name}: referrers of {digest}").manifests
                self._has_referrers_api = True
        except (NotFound, RegistryError) as error:
            if self._has_referrers_api or (isinstance(error, RegistryError) and not _tells_nothing(error)):
                raise
            self._has_referrers_api = False
            return None
        return found

    def _referrers_by_tag(self, digest: str) -> tuple[Descriptor, ...]:
        index = self.find(_referrers_tag(digest))
        # Registries that take such a tag for the digest itself answer with what it names.
        if index is None or not index.is_index or index.digest == digest:
            return ()
        return Index.from_bytes(self.fetch(index), f"{self.name}:{_referrers_tag(digest)}").manifests

    def _by_subject(self, untagged: Iterable[Descriptor]) -> dict[str, list[Descriptor]]:
        found: dict[str, list[Descriptor]] = {}
        for entry in untagged:
            if entry.is_manifest:
                manifest = Manifest.from_bytes(self.fetch(entry), f"manifest {entry.digest}")
                if manifest.subject is not None:
                    referrer = as_referrer(replace(entry, platform=None), manifest)
                    found.setdefault(manifest.subject.digest, []).append(referrer)
        return found

    def _resolve_by_head(self, name: str) -> Descriptor | None:
        """Return what HEAD says, None if that is too little; registries may know GET alone."""
        try:
            answer = self._transport.request("HEAD", self._manifest_url(name), headers=_ACCEPT, attempts=2)
        except RegistryError:
            # Whatever is the matter, GET shows whether it is with HEAD alone, and says more of it.
            return None
        return _described(answer)

    def _is_tagged(self, tag: str, descriptor: Descriptor) -> bool:
        known = self.find(tag)
        return known is not None and known.digest == descriptor.digest

    def _resolve_by_get(self, name: str) -> Descriptor | None:
        answer = self._get_manifest(name)
        if answer is None:
            return None
        algorithm = name.partition(":")[0] if is_digest(name) else "sha256"
        digest = digest_of(answer.body, algorithm)
        self._remember(digest, answer.body)
        media_type = document_media_type(answer.body, f"{self.name}: {name}") or _media_type(answer)
        return Descriptor(media_type=media_type, digest=digest, size_bytes=len(answer.body))

    def _document(self, descriptor: Descriptor) -> bytes:
        """Return a manifest or index, not yet verified unless it was before."""
        if descriptor.size_bytes > MAX_MANIFEST_BYTES:
            raise ContentError(
                f"{descriptor.digest}: {descriptor.size_bytes} bytes are too many "
                f"for {descriptor.media_type}: at most {MAX_MANIFEST_BYTES} are read"
            )
        if (known := self._documents.get(descriptor.digest)) is not None:
            return known
        answer = self._get_manifest(descriptor.digest)
        if answer is None:
            raise NotFound(descriptor.digest, where=self.name)
        descriptor.check(answer.body)
        self._remember(descriptor.digest, answer.body)
        return answer.body

    def _get_manifest(self, name: str) -> Answer | None:
        url = self._manifest_url(name)
        ask = partial(self._transport.request, "GET", url, limit_bytes=MAX_MANIFEST_BYTES)
        answer: Answer = ask(headers=_ACCEPT, allow=_NOT_FOUND | _NOT_ACCEPTABLE)
        if answer.status in _NOT_ACCEPTABLE:
            answer = ask(headers=_ACCEPT_ANY, allow=_NOT_FOUND)
        if answer.status == 404:
            return None
        if _media_type(answer) == "text/html":
            reason = "a web page instead of a manifest: of whom to sign in with, or of a proxy in between"
            raise RegistryError("GET", shown(answer.url), reason)
        return answer

    def _remember(self, digest: str, data: bytes) -> None:
        """Keep *data*, whose digest is *digest*: copying needs a manifest twice, to walk and to send it."""
        with self._lock:
            if len(data) + sum(map(len, self._documents.values())) <= _MAX_CACHED_BYTES:
                self._documents[digest] = data

    def _blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """Yield a blob, going on where a connection was cut as long as each brings something."""
        url = self._blob_url(descriptor)
        offset, cuts_in_a_row = 0, 0
        failure: Exception | None = None
        for _ in range(_MAX_CUTS):
            before = offset
            try:
                for piece in self._blob_from(url, offset, descriptor):
                    offset += len(piece)
                    yield piece
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                failure = error
            else:
                failure = None
            # Some end an answer too early without a word, and some do not end it although all has come.
            if offset >= descriptor.size_bytes or (failure is None and offset == before):
                return
            cuts_in_a_row = 0 if offset > before else cuts_in_a_row + 1
            if cuts_in_a_row == self._transport.patience.attempts:
                break
        if failure is not None:
            raise error_of_failure("GET", url, failure, self._transport.host) from None

    def _blob_from(self, url: str, offset: int, descriptor: Descriptor) -> Iterator[bytes]:
        """Yield the bytes from *offset* on, of however much the registry sends."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        allow = _NOT_FOUND | (_REFUSED_RANGE if offset else frozenset())
        with self._transport.open(url, headers=headers, allow=allow) as response:
            if response.status_code == 404:
                raise NotFound(descriptor.digest, where=self._place_of(response))
            if response.status_code not in _REFUSED_RANGE:
                yield from _after(response, offset, descriptor)
                return
        with self._transport.open(url, headers={}, allow=frozenset()) as response:
            yield from _after(response, offset, descriptor)

    def _place_of(self, response: requests.Response) -> str:
        """Return who gave *response*, for people: the repository, or where it led to."""
        is_own = response.url.startswith(f"{self._transport.base_url}/")
        return self.name if is_own else f"{shown(response.url)}, where {self.name} led to"

    def _put_manifest(self, name: str, descriptor: Descriptor, data: bytes) -> Answer:
        headers = {"Content-Type": descriptor.media_type}
        url = self._manifest_url(name)
        answer = self._until_parts_are_known(
            partial(self._transport.request, "PUT", url, data=data, headers=headers)
        )
        stored = answer.headers.get("Docker-Content-Digest", "")
        if is_other_digest(stored, descriptor.digest):
            raise DigestMismatch(f"{self.name}:{name}", expected=descriptor.digest, actual=stored)
        self._remember(descriptor.digest, data)
        if answer.headers.get("OCI-Subject"):
            self._listed_by_itself.add(descriptor.digest)
        return answer

    def _until_parts_are_known(self, put: Callable[[], Answer]) -> Answer:
        """Call *put*; again, while the registry says that it does not know yet what was sent before."""
        patience = self._transport.patience
        for attempt in range(1, patience.attempts):
            try:
                return put()
            except RegistryError as error:
                if not _UNKNOWN_PARTS.intersection(error.codes):
                    raise
                time.sleep(patience.first_wait_s * 2 ** (attempt - 1))
        return put()

    def _pages(self, url: str, what: str, query: str = "") -> Iterator[bytes]:
        """
        Yield the pages of a list, following links as long as they stay at the registry and are new.

        Args:
            url: Of the list.
            what: Is listed, for errors.
            query: Asked for at first; a registry that refuses it is asked without.
        """
        seen: set[str] = set()
        start, url = url, url + query
        while len(seen) < MAX_PAGES and url not in seen:
            seen.add(url)
            allow = _NOT_FOUND | _REFUSED_QUERY if query and len(seen) == 1 else _NOT_FOUND
            answer = self._transport.request("GET", url, allow=allow, limit_bytes=MAX_MANIFEST_BYTES)
            if answer.status in _REFUSED_QUERY:
                url = start
                continue
            if answer.status == 404:
                raise NotFound(what, where=self.name, hint="check how the repository is spelled")
            yield answer.body
            link = _LINK.search(answer.headers.get("Link", ""))
            if link is None:
                return
            # Behind a proxy some name themselves as they are called there.
            url = self._transport.own_url(url, link["url"])
        raise RegistryError("GET", shown(url), f"the list of {what} does not end: {len(seen)} pages")

    @property
    def _url(self) -> str:
        return f"{self._transport.base_url}/v2/{self.repository}"

    def _blob_url(self, descriptor: Descriptor) -> str:
        return f"{self._url}/blobs/{descriptor.digest}"

    @property
    def _uploads_url(self) -> str:
        return f"{self._transport.prefix}://{self._places.upload_blob_url()}"

    def _manifest_url(self, name: str) -> str:
        return f"{self._transport.prefix}://{self._places.manifest_url(name)}"


def _places(transport: Transport, repository: str) -> oras.container.Container:
    """Return oras's map of the API, its own reading of the name (`localhost/foo`, `a.b/foo`) corrected."""
    places = oras.container.Container("name", registry=transport.hostname)
    places.namespace, _, places.repository = repository.rpartition("/")
    return places


def _referrers_tag(digest: str) -> str:
    return digest.replace(":", "-")


def _tag_or_digest(reference: Reference | str) -> str:
    if isinstance(reference, Reference):
        return reference.digest or reference.tag or ""
    return reference


def _described(answer: Answer) -> Descriptor | None:
    """Return what the headers of *answer* describe, None if they say too little."""
    digest = answer.headers.get("Docker-Content-Digest", "")
    size = answer.headers.get("Content-Length", "")
    if not is_digest(digest) or not (size.isascii() and size.isdigit()) or not int(size[:19]):
        return None
    if answer.headers.get("Content-Encoding") or _media_type(answer) not in _MEDIA_TYPES:
        return None
    return Descriptor(media_type=_media_type(answer), digest=digest, size_bytes=int(size[:19]))


def _is_listing(page: bytes) -> bool:
    """Return whether *page* lists manifests; some answer whatever is asked with something of their own."""
    try:
        return isinstance(parse_object(page, "referrers").get("manifests"), list)
    except ContentError:
        return False


def _after(response: requests.Response, offset: int, descriptor: Descriptor) -> Iterator[bytes]:
    """
    Yield what *response* has of the blob *descriptor* from *offset* on.

    A registry that knows no ranges sends all of it again, and one that says which range it sends is believed.
    """
    length = response.headers.get("Content-Length", "")
    # Blobs that are compressed themselves are sent with that header, too: then the size is right as it is.
    is_encoded = bool(response.headers.get("Content-Encoding")) and length != str(descriptor.size_bytes)
    to_skip = offset - _start_of(response)
    for piece in pieces(response, decode=is_encoded):
        skipped = min(to_skip, len(piece))
        to_skip -= skipped
        if skipped < len(piece):
            yield piece[skipped:]


def _start_of(response: requests.Response) -> int:
    """Return where in the blob *response* begins, in bytes."""
    if response.status_code != _PARTIAL:
        return 0
    found = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    asked = (response.request.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-")
    return min(int(found["start"] if found else asked), int(asked))


def _tells_nothing(error: RegistryError) -> bool:
    """
    Return whether a refusal may as well mean "not here" or "not known": another way is to be tried.

    Registries say that they lack an optional part of the specification by nearly every status. Those that
    pass, and a connection that failed, say nothing of the kind.
    """
    return error.status is not None and error.status >= 400 and error.status not in _PASSING


def _media_type(answer: Answer) -> str:
    return answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
