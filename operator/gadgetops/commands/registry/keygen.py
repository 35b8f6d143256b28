"""`gadgetops keygen`: a pair of keys, to sign and to verify with."""

import contextlib
import os
from pathlib import Path

import click

from gadgetops.commands.common import messages
from gadgetops.commands.common.options import verb
from gadgetops.errors import AlreadyExists
from gadgetops.whole_files import storage_errors, write_file

_PRIVATE_MODE = 0o600
_PUBLIC_MODE = 0o644


@verb("keygen", example="gadgetops keygen --output release")
@click.option(
    "-o",
    "--output",
    "prefix",
    metavar="PREFIX",
    default="gadgetops",
    show_default=True,
    help="Write PREFIX.key and PREFIX.pub.",
)
@click.option("--force", is_flag=True, help="Replace keys that are there: what they signed stays signed.")
def command(prefix: str, force: bool) -> None:
    """Make a key to sign images with, PREFIX.key, and one to verify them with, PREFIX.pub.

    ECDSA P-256 in cosign's format: cosign and ig use them, too. The private key is encrypted with a password,
    taken from GADGETOPS_KEY_PASSWORD or COSIGN_PASSWORD or asked for. PREFIX.pub is for everybody; keep
    PREFIX.key and its password for yourself.
    """
    from gadgetops.commands.options.key_option import new_password
    from gadgetops.oci.signing.keys import PrivateKey

    private, public = Path(f"{prefix}.key"), Path(f"{prefix}.pub")
    if not force:
        _refuse_existing(private, public)
    key = PrivateKey.generate()
    pem = key.to_pem(new_password(f"Password for {private}"))
    if force:
        write_file(private, [pem], scratch=private.parent, mode=_PRIVATE_MODE)
        write_file(public, [key.public.to_pem()], scratch=public.parent, mode=_PUBLIC_MODE)
    else:
        _create_both(private, pem, public, key.public.to_pem())
    messages.say(f"wrote {private} and {public}")


def _refuse_existing(*paths: Path) -> None:
    for path in paths:
        if path.exists() or path.is_symlink():
            raise AlreadyExists(str(path), hint="pass --force to replace it, or another --output")


def _create_both(private: Path, pem: bytes, public: Path, public_pem: bytes) -> None:
    """Write both files or none; what has appeared since the first look is not replaced either."""
    _create(private, pem, _PRIVATE_MODE)
    try:
        _create(public, public_pem, _PUBLIC_MODE)
    except BaseException:
        private.unlink()
        raise


def _create(path: Path, data: bytes, mode: int) -> None:
    with storage_errors(path):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError:
            _refuse_existing(path)
            raise
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
        except BaseException:
            with contextlib.suppress(OSError):
                path.unlink()
            raise
