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
    return PrivateKey.from_pem(_read(path), str(path), lambda: password(f"Password of {path}"))


def read_public_key(path: Path) -> PublicKey:
    """Return the public key in the file *path*; `KeyFileError` if it holds none."""
    return PublicKey.from_pem(_read(path), str(path))


def password(prompt: str, *, is_new: bool = False) -> bytes:
    """
    Return the password in GADGETOPS_KEY_PASSWORD or COSIGN_PASSWORD, else what a person types, unseen.

    The variables are taken out of the environment: no program that is started later needs to see them.

    Raises:
        UsageError: None is set, and there is no terminal to ask at.
    """
    given = [os.environ.pop(name, None) for name in PASSWORD_VARIABLES]
    for found in given:
        if found is not None:
            return os.fsencode(found)
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
