"""What verbs share: the `verb` decorator and the options that mean the same everywhere."""

from collections.abc import Callable
from typing import Any

import click

from gadgetops.commands.common.messages import settings

Function = Callable[..., Any]


def verb(name: str, *, example: str, **attributes: Any) -> Callable[[Function], click.Command]:
    """
    Return a decorator that makes a function the verb *name*.

    Args:
        name: As typed.
        example: Command lines shown at the end of `--help`, as they stand.
        attributes: Passed on to `click.command`.
    """
    indented = "\n".join(f"  {line}" for line in example.strip().splitlines())

    def decorate(function: Function) -> click.Command:
        with_options = _quiet(_verbose(function))
        make = click.command(name, cls=click.Command, epilog=f"\b\nExample:\n{indented}", **attributes)
        return make(with_options)

    return decorate


def _set(attribute: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def callback(_context: click.Context, _parameter: click.Parameter, value: bool) -> None:
        if value:
            setattr(settings, attribute, True)

    return callback


_quiet = click.option(
    "-q",
    "--quiet",
    is_flag=True,
    expose_value=False,
    callback=_set("quiet"),
    help="Only results, warnings and errors.",
)
_verbose = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_set("verbose"),
    help="Say more; show causes of errors.",
)

format_option = click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="Form of the result.",
)
"""`--format table|json|csv`, as the argument `output_format`."""
