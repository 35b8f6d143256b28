"""Keys on the command line: reading their files, and asking for a password where none may see it."""

import os
import sys
from pathlib import Path
from typing import Final

import click

from gadgetops.errors import GadgetOpsError, KeyFileError, UsageError
from gadgetops.oci.signing.keys import PrivateKey, PublicKey

PASSWORD_VARIABLES: Final = ("GADGETOPS_KEY_PASSWORD", "COSIGN_PASSWORD")
"""Where a password is looked for before a person is asked; the first that is set counts."""

MAX_KEY_FILE_BYTES: Final = 64 << 10


def read_private_key(path: Path) -> PrivateKey:
    """Return the private key in the file *path*, asking for its password if need be; `KeyFileError`."""
    given = _take_password()
    return PrivateKey.from_pem(
        _read(path), str(path), lambda: _ask(f"Password of {path}") if given is None else given
    )


def read_public_key(path: Path) -> PublicKey:
    """Return the public key in the file *path*; `KeyFileError` if it holds none."""
    return PublicKey.from_pem(_read(path), str(path))


def new_password(prompt: str) -> bytes:
    """
    Return the password in GADGETOPS_KEY_PASSWORD or COSIGN_PASSWORD, else what a person types twice, unseen.

    Raises:
        UsageError: None is set, and there is no terminal to ask at.
    """
    given = _take_password()
    return _ask(prompt, is_new=True) if given is None else given


def _take_password() -> bytes | None:
    """Return the password in the environment, None if none is set, and take it out: no child is to see it."""
    given = [os.environ.pop(name, None) for name in PASSWORD_VARIABLES]
    return next((os.fsencode(found) for found in given if found is not None), None)


def _ask(prompt: str, *, is_new: bool = False) -> bytes:
    if not sys.stdin.isatty():
        hint = f"set {PASSWORD_VARIABLES[0]}, or run this in a terminal"
        raise UsageError("a password is needed, and there is no terminal to ask for it", hint=hint)
    typed: str = click.prompt(prompt, hide_input=True, confirmation_prompt=is_new, err=True)
    return typed.encode()


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(data) > MAX_KEY_FILE_BYTES:
        raise KeyFileError(str(path), f"more than {MAX_KEY_FILE_BYTES} bytes, too many for a key")
    return data


def _unreadable(path: Path, error: OSError) -> GadgetOpsError:
    hint = "`gadgetops keygen` makes a pair of keys" if isinstance(error, FileNotFoundError) else None
    return KeyFileError(str(path), error.strerror or str(error), hint=hint)
