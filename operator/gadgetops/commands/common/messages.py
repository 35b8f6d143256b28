"""What the verbs say on standard error: progress, warnings, errors. Results never go through here."""

from dataclasses import dataclass

import click


@dataclass
class _Settings:
    quiet: bool = False
    verbose: bool = False


settings = _Settings()
"""Set once by the verb's own `--quiet` and `-v`."""


def say(text: str) -> None:
    """Write *text* unless `--quiet`."""
    if not settings.quiet:
        click.echo(text, err=True)


def detail(text: str) -> None:
    """Write *text* only with `-v`."""
    if settings.verbose:
        click.echo(text, err=True)


def warn(text: str) -> None:
    """Write *text* as a warning, even with `--quiet`."""
    click.echo(f"gadgetops: warning: {text}", err=True)


def error(text: str, *, cause: BaseException) -> None:
    """Write *text* as the error that ends the verb; with `-v` also where it came from."""
    click.echo(f"gadgetops: error: {text}", err=True)
    if settings.verbose:
        import traceback

        click.echo("".join(traceback.format_exception(cause)), err=True)
