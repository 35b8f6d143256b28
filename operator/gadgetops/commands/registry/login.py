"""`gadgetops login`: who we are at a registry."""

import re
import sys
from dataclasses import replace

import click

from gadgetops.commands.common import messages
from gadgetops.commands.common.options import verb
from gadgetops.commands.options.registry_options import registry_options
from gadgetops.errors import Unauthorized, UsageError
from gadgetops.oci.registry.access import Access
from gadgetops.oci.registry.credentials import AuthFile, Credentials, login_file


@verb(
    "login",
    example="""\
gadgetops login ghcr.io -u alice
echo "$TOKEN" | gadgetops login ghcr.io -u alice --password-stdin
""",
)
@click.argument("registry", metavar="HOST[:PORT]")
@click.option("-u", "--username", metavar="NAME", help="Who you are there; asked for if left out.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@registry_options
def command(registry: str, username: str | None, password_stdin: bool, access: Access) -> None:
    """Check a name and password at a registry and keep them for later.

    They are kept where docker keeps them (and with the helper that it uses), in ig's file if there is one, or
    in the file of --authfile or $REGISTRY_AUTH_FILE. The password is asked for, unseen, or comes from
    standard input: on the command line everybody on the machine could read it.
    """
    host = parse_registry(registry)
    credentials = Credentials(*_ask(username, from_stdin=password_stdin))
    is_checked = _check(host, replace(access, credentials=credentials))
    where = AuthFile.read(login_file(access.authfile)).store(host, credentials)
    if not is_checked:
        messages.warn(f"{host} asks nobody for a password: this one was not checked")
    messages.say(f"logged in to {host} as {credentials.username}; kept in {where}")


def _check(host: str, access: Access) -> bool:
    from gadgetops.oci.registry.http import Transport

    try:
        return Transport(host, access).check_login()
    except Unauthorized as error:
        hint = "nothing was kept; some registries want an access token in place of the password"
        raise Unauthorized(
            error.method, error.url, error.reason, status=error.status, codes=error.codes, hint=hint
        ) from error


def parse_registry(text: str) -> str:
    """Return the host, with its port if any, that *text* is; `UsageError` if it is none."""
    host = text.removeprefix("https://").rstrip("/")
    if not re.fullmatch(r"[A-Za-z0-9._-]+(?::[0-9]+)?|\[[0-9A-Fa-f:]+\](?::[0-9]+)?", host):
        raise UsageError(f"{text!r} is no registry", hint="write HOST or HOST:PORT, such as ghcr.io")
    return host


def _ask(username: str | None, *, from_stdin: bool) -> tuple[str, str]:
    if from_stdin:
        if username is None:
            raise UsageError("--password-stdin needs --username", hint="pass -u NAME")
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    elif not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask for the password", hint="pass --password-stdin")
    else:
        username = username or click.prompt("Username", err=True)
        password = click.prompt("Password", hide_input=True, err=True)
    if not username or ":" in username or not password:
        raise UsageError("expected a name without a colon, and a password that is not empty")
    return username, password
