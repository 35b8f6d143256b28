"""`--store`, which every verb that reads or writes images has."""

import os
from pathlib import Path

import click

from gadgetops.commands.common import messages
from gadgetops.oci.layout.store_choice import AUTO, STORE_VARIABLE, listener


def _warn_if_overridden(context: click.Context, parameter: click.Parameter, value: str) -> str:
    variable = os.environ.get(STORE_VARIABLE)
    if variable and value not in (AUTO, variable):
        messages.warn(f"--store {value} has no effect: {STORE_VARIABLE} is set to {variable}")
    return value


def _say_chosen(path: Path) -> None:
    messages.say(f"images are kept in {path}, from now on; --store or {STORE_VARIABLE} names another store")


listener.on_choice = _say_chosen

store_option = click.option(
    "--store",
    "store",
    metavar="auto|ig|user|PATH",
    default=AUTO,
    show_default=True,
    callback=_warn_if_overridden,
    help=f"Where images are kept: ig's store, the user's, or a folder; ${STORE_VARIABLE} goes first.",
)
"""`--store auto|ig|user|PATH`, as the argument `store` for `oci.store.open_store`."""
