"""Debian's docker-registry on a loopback port: open, with htpasswd, with a token service, with TLS."""

import base64
import contextlib
import datetime
import hashlib
import http.client
import ipaddress
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

USERNAME, PASSWORD = "alice", "open sesame: ü"


@dataclass(frozen=True)
class RunningRegistry:
    """A registry that runs: its host with port, and the folder of its files."""

    host: str
    folder: Path
    ca_file: Path | None = None

    @property
    def log(self) -> str:
        """What it logged so far."""
        return (self.folder / "log").read_text()


def need(program: str) -> str:
    """Return the path of *program*, or skip the test by its name."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"no `{program}` on PATH")
    return path


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running_registry(
    folder: Path,
    *,
    port: int | None = None,
    ca_file: Path | None = None,
    client: "Certificate | None" = None,
    **sections: Mapping[str, Any],
) -> Iterator[RunningRegistry]:
    """
    Run a registry that keeps its files in *folder*.

    Args:
        folder: Made if need be; what is there from an earlier run is served again.
        port: Where to listen; a free one if none is given.
        ca_file: What signed its certificate, if it speaks TLS.
        client: What it takes as its clients' certificate, if it wants one.
        sections: More of its configuration: `auth={…}`, `http={…}`.
    """
    program = need("docker-registry")
    folder.mkdir(parents=True, exist_ok=True)
    host = f"127.0.0.1:{port or free_port()}"
    configuration = {
        "version": 0.1,
        "log": {"level": "info"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        **sections,
        "http": {"addr": host, "secret": "0", **sections.get("http", {})},
    }
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump(configuration))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", path], stdout=log, stderr=log)
    try:
        wait_until_it_answers(host, process, ca_file, client)
        yield RunningRegistry(host, folder, ca_file)
    finally:
        process.terminate()
        process.wait(10)


def wait_until_it_answers(
    host: str,
    process: subprocess.Popen[bytes],
    ca_file: Path | None = None,
    client: "Certificate | None" = None,
) -> None:
    """Wait for the registry at *host*, which *process* is, to answer; fail after 20 seconds."""
    deadline = time.monotonic() + 20
    while True:
        assert process.poll() is None, "the registry ended"
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            contextlib.closing(_connect(host, ca_file, client)) as it,
        ):
            it.request("GET", "/v2/")
            it.getresponse()
            return
        assert time.monotonic() < deadline, "the registry does not answer"
        time.sleep(0.05)


def _connect(host: str, ca_file: Path | None, client: "Certificate | None") -> http.client.HTTPConnection:
    if ca_file is None:
        return http.client.HTTPConnection(host, timeout=5)
    context = ssl.create_default_context(cafile=ca_file)
    if client is not None:
        context.load_cert_chain(client.ca_file, client.key_file)
    return http.client.HTTPSConnection(host, timeout=5, context=context)


def htpasswd(folder: Path) -> dict[str, Any]:
    """Return the section `auth` of a registry that knows `USERNAME` and `PASSWORD` alone."""
    made = subprocess.run(
        [need("htpasswd"), "-Bbn", USERNAME, PASSWORD], check=True, capture_output=True
    ).stdout
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "htpasswd").write_bytes(made)
    return {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}


@dataclass(frozen=True)
class Certificate:
    """A certificate that signed itself, for loopback, with its key; all it is trusted for is in `ca_file`."""

    key: ec.EllipticCurvePrivateKey
    der: bytes
    ca_file: Path
    key_file: Path

    @classmethod
    def make(cls, folder: Path) -> "Certificate":
        """Make one that is valid for a day."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
        now = datetime.datetime.now(datetime.UTC)
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .sign(key, hashes.SHA256())
        )
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / "key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        der = certificate.public_bytes(serialization.Encoding.DER)
        return cls(key, der, folder / "ca.pem", folder / "key.pem")

    def token(self, claims: Mapping[str, Any]) -> str:
        """Return *claims* as a signed JSON Web Token (ES256) that carries this certificate."""
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(self.der).decode()]}
        text = ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        r, s = decode_dss_signature(self.key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class TokenService:
    """
    A token service on loopback that knows `USERNAME` and `PASSWORD` alone.

    Attributes:
        certificate: What signs the tokens.
        valid_s: For how many seconds a token is good.
        anonymous_pull: Whether who says nothing may pull.
        identity_token: The refresh token that stands for `USERNAME`, too.
        asked: Method, query and body of each request, in order.
    """

    certificate: Certificate
    valid_s: int = 300
    anonymous_pull: bool = False
    identity_token: str = "refresh-me"
    asked: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)
    url: str = ""

    @contextlib.contextmanager
    def running(self) -> Iterator["TokenService"]:
        """Listen."""
        service = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                service._answer(self, parse_qs(urlsplit(self.path).query))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service._answer(self, parse_qs(body.decode()))

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.url = f"http://127.0.0.1:{server.server_address[1]}/token"
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            yield self
            server.shutdown()

    def section(self) -> dict[str, Any]:
        """Return the section `auth` of a registry that takes these tokens."""
        bundle = str(self.certificate.ca_file)
        return {"token": {"realm": self.url, "service": "tests", "issuer": "tests", "rootcertbundle": bundle}}

    def _answer(self, handler: BaseHTTPRequestHandler, query: dict[str, list[str]]) -> None:
        self.asked.append((handler.command, query))
        basic = "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
        given = handler.headers.get("Authorization")
        is_known = given == basic or query.get("refresh_token") == [self.identity_token]
        if not is_known and (given is not None or not self.anonymous_pull):
            body, status = b'{"details":"incorrect username or password"}', 401
        else:
            scopes = " ".join(query.get("scope", [])).split()
            body, status = json.dumps({"token": self._token(scopes, is_known)}).encode(), 200
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _token(self, scopes: list[str], is_known: bool) -> str:
        now = int(time.time())
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            allowed = [each for each in actions.split(",") if is_known or each == "pull"]
            access.append({"type": kind, "name": name, "actions": allowed})
        return self.certificate.token(
            {
                "iss": "tests",
                "sub": USERNAME,
                "aud": "tests",
                "iat": now - 60,
                "nbf": now - 60,
                "exp": now + self.valid_s,
                "jti": hashlib.sha256(str(time.time_ns()).encode()).hexdigest(),
                "access": access,
            }
        )
