"""
Certificates of registries and of their clients, as docker and podman keep them: a folder for each host.

In `certs.d/HOST:PORT/` every `*.crt` is an authority to trust for that host, and every `*.cert`, with the
`*.key` of the same name, a certificate to show there (dockerd's documentation, "Verify repository client with
certificates"; containers-certs.d(5)).
"""

import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gadgetops.errors import StorageError

FOLDERS: Final = ("/etc/containers/certs.d", "/etc/docker/certs.d")
"""Where all users' are; a user's own go before."""


def tls_context(host: str, ca_file: Path | None = None) -> ssl.SSLContext:
    """
    Return what TLS with *host* begins with: whom to trust, and which certificate to show.

    Args:
        host: The registry, with its port if any; empty for others.
        ca_file: Further authorities to trust.

    Raises:
        StorageError: A file cannot be read, or is no certificate; a certificate has no key.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        _trust(context, ca_file, "pass --ca-file FILE.pem")
    for folder in _folders(host) if host else ():
        for path in sorted(folder.glob("*.crt")):
            _trust(context, path, "take it out of the folder, or replace it")
        for path in sorted(folder.glob("*.cert")):
            _show(context, path)
    return context


def _folders(host: str) -> Iterator[Path]:
    """Yield the folders for *host* that exist, a user's own first."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser())
    for folder in (home / "containers/certs.d", home / "docker/certs.d", *map(Path, FOLDERS)):
        if (folder / host).is_dir():
            yield folder / host


def _trust(context: ssl.SSLContext, path: Path, hint: str) -> None:
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise StorageError(path, "no certificates in PEM form", hint=hint) from error
    except OSError as error:
        raise StorageError.from_os_error(error, path) from error


def _show(context: ssl.SSLContext, path: Path) -> None:
    key = path.with_suffix(".key")
    if not key.exists():
        raise StorageError(path, f"a certificate without its key {key.name}", hint=f"put {key} beside it")
    try:
        # Nobody is asked for a password: who runs in CI could not answer.
        context.load_cert_chain(path, key, password=lambda: b"")
    except ssl.SSLError as error:
        raise StorageError(path, f"no certificate with an unencrypted key {key.name} in PEM form") from error
    except OSError as error:
        raise StorageError.from_os_error(error, path) from error
