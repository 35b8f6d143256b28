"""A registry in this process that keeps to the rules until told to break one, and remembers each request."""

import contextlib
import hashlib
import json
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    n_body_bytes: int


@dataclass
class Reply:
    """
    What to answer.

    Attributes:
        status: HTTP status.
        body: The body.
        headers: Headers; Content-Length is added unless it is here.
        cut_after: Close the connection after so many bytes of the body, None for never.
        framing: How the end of the body is told: by its length if empty, `"chunked"`, or `"until-closed"`.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    framing: str = ""


@dataclass
class _Rule:
    method: str
    path: re.Pattern[str]
    replies: list[Reply | None]
    always: bool = False


class Misbehaving:
    """
    The registry; any repository is the same one.

    Attributes:
        host: Where it listens.
        blobs: Content by digest.
        manifests: Media type and content by digest.
        tags: Digest by tag.
        requests: What was asked, in order.
        connections: The ports that it was asked from.
        has_referrers_api: Whether it lists referrers, and says so when one is pushed.
        tags_per_page: How many tags one page has at most.
    """

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.tags: dict[str, str] = {}
        self.uploads: dict[str, bytearray] = {}
        self.requests: list[Request] = []
        self.connections: set[int] = set()
        self.has_referrers_api = False
        self.tags_per_page = 1000
        self._rules: list[_Rule] = []
        self._limits: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_: object) -> None:
                pass

            def _do(self) -> None:
                registry._handle(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _do

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.host}"

    def on(self, method: str, path: str, *replies: Reply | None) -> None:
        """Answer the next requests of *method* for *path* with *replies*; None is the right answer."""
        self._rules.append(_Rule(method, re.compile(path), [*replies]))

    def always(self, method: str, path: str, reply: Reply) -> None:
        """Answer all requests of *method* whose path matches *path* with *reply*."""
        self._rules.append(_Rule(method, re.compile(path), [reply], always=True))

    def refuse_larger(self, method: str, limit_bytes: int, status: int) -> None:
        """Answer *status* to each upload by *method* whose body is larger than *limit_bytes*."""
        self._limits[method] = limit_bytes, status

    def put(self, data: bytes, media_type: str, tag: str | None = None) -> dict[str, Any]:
        """Have *data*, a manifest or index if its media type says so; return its descriptor."""
        digest = _digest(data)
        if "manifest" in media_type or "index" in media_type:
            self.manifests[digest] = (media_type, data)
        else:
            self.blobs[digest] = data
        if tag is not None:
            self.tags[tag] = digest
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def asked(self, method: str, path: str = "") -> list[Request]:
        """Return the requests of *method* whose path matches *path*."""
        return [each for each in self.requests if each.method == method and re.search(path, each.path)]

    def __enter__(self) -> "Misbehaving":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        with contextlib.suppress(OSError):
            size = int(handler.headers.get("Content-Length") or 0)
            body = handler.rfile.read(size)
            request = Request(handler.command, handler.path, dict(handler.headers), len(body))
            with self._lock:
                self.connections.add(handler.client_address[1])
                self.requests.append(request)
                reply = self._answer(request, body)
            self._send(handler, reply)

    def _answer(self, request: Request, body: bytes) -> Reply:
        return self._ruled(request) or self._right(request, body)

    def _ruled(self, request: Request) -> Reply | None:
        limit_bytes, status = self._limits.get(request.method, (sys.maxsize, 0))
        if request.n_body_bytes > limit_bytes and "/blobs/uploads/" in request.path:
            return Reply(status)
        for rule in self._rules:
            if rule.replies and rule.method == request.method and rule.path.search(request.path):
                return rule.replies[0] if rule.always else rule.replies.pop(0)
        return None

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        handler.send_response(reply.status)
        length = {"Content-Length": str(len(reply.body))}
        framing = {"": length, "chunked": {"Transfer-Encoding": "chunked"}, "until-closed": {}}[reply.framing]
        for name, value in {**framing, **reply.headers}.items():
            if value:
                handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(_framed(reply))
        if reply.cut_after is not None or reply.framing == "until-closed":
            handler.wfile.flush()
            handler.close_connection = True

    def _right(self, request: Request, body: bytes) -> Reply:
        parts = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/v2/":
            return Reply(body=b"{}")
        if found := re.search(r"/manifests/(.+)$", parts.path):
            return self._manifest(request, found[1], body)
        if re.search(r"/blobs/uploads/", parts.path):
            return self._upload(request, parts.path, query, body)
        if found := re.search(r"/blobs/(.+)$", parts.path):
            return self._blob(request, found[1])
        if parts.path.endswith("/tags/list"):
            return self._tag_list(parts.path, query)
        if (found := re.search(r"/referrers/(.+)$", parts.path)) and self.has_referrers_api:
            return Reply(body=self._referrers(found[1]))
        return Reply(404, b"404 page not found")

    def _manifest(self, request: Request, name: str, body: bytes) -> Reply:
        if request.method == "PUT":
            media_type = request.headers["Content-Type"]
            descriptor = self.put(body, media_type, None if ":" in name else name)
            headers = {"Docker-Content-Digest": descriptor["digest"]}
            subject = json.loads(body).get("subject")
            if subject and self.has_referrers_api:
                headers["OCI-Subject"] = subject["digest"]
            return Reply(201, headers=headers)
        digest = self.tags.get(name, name)
        if digest not in self.manifests:
            return Reply(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}')
        media_type, data = self.manifests[digest]
        return Reply(body=data, headers={"Content-Type": media_type, "Docker-Content-Digest": digest})

    def _blob(self, request: Request, digest: str) -> Reply:
        data = self.blobs.get(digest)
        if data is None:
            return Reply(404, b'{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown"}]}')
        wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        if wanted is None:
            return Reply(body=data)
        start = int(wanted[1])
        return Reply(206, data[start:], {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"})

    def _upload(self, request: Request, path: str, query: dict[str, str], body: bytes) -> Reply:
        base = path[: path.index("/blobs/uploads/")] + "/blobs/uploads/"
        if request.method == "POST":
            if query.get("mount") in self.blobs:
                return Reply(201, headers={"Location": f"{base}done"})
            name = f"u{len(self.requests)}"
            self.uploads[name] = bytearray()
            return Reply(202, headers={"Location": f"{base}{name}?state=secret"})
        name = path.removeprefix(base)
        if name not in self.uploads:
            return Reply(404, b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"unknown upload"}]}')
        received = self.uploads[name]
        if request.method == "DELETE":
            del self.uploads[name]
            return Reply(204)
        received += body
        headers = {"Location": f"{base}{name}?state=secret", "Range": f"0-{max(0, len(received) - 1)}"}
        if request.method == "GET":
            return Reply(204, headers=headers)
        if request.method == "PATCH":
            return Reply(202, headers=headers)
        del self.uploads[name]
        if _digest(bytes(received)) != query["digest"]:
            return Reply(400, b'{"errors":[{"code":"DIGEST_INVALID","message":"other bytes"}]}')
        self.blobs[query["digest"]] = bytes(received)
        return Reply(201)

    def _tag_list(self, path: str, query: dict[str, str]) -> Reply:
        tags = [tag for tag in sorted(self.tags) if tag > query.get("last", "")]
        page = tags[: self.tags_per_page]
        link = {"Link": f'<{path}?last={page[-1]}>; rel="next"'} if len(page) < len(tags) else {}
        return Reply(body=json.dumps({"name": "x", "tags": page}).encode(), headers=link)

    def _referrers(self, digest: str) -> bytes:
        found = []
        for name, (media_type, data) in self.manifests.items():
            document = json.loads(data)
            if document.get("subject", {}).get("digest") == digest:
                found.append(
                    {
                        "mediaType": media_type,
                        "digest": name,
                        "size": len(data),
                        "artifactType": document.get("artifactType"),
                    }
                )
        index = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": found,
        }
        return json.dumps(index).encode()


@contextlib.contextmanager
def misbehaving() -> Iterator[Misbehaving]:
    """Run a registry that does as it is told."""
    with Misbehaving() as registry:
        yield registry


def _framed(reply: Reply) -> bytes:
    body = reply.body[: reply.cut_after]
    if reply.framing != "chunked":
        return body
    end = b"0\r\n\r\n" if reply.cut_after is None else b""
    return (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + end


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
