"""What verbs share: the `verb` decorator and the options that mean the same everywhere."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import click

from gadgetops.commands.common.messages import settings

Function = Callable[..., Any]


class VerbCommand(click.Command):
    """
    A verb, whose help may leave out what is rarely needed.

    Args:
        everyday: Names of the parameters that `--help` shows, with the first two paragraphs of the text; all
            where none are given. `--help-all` shows all.
    """

    def __init__(self, *arguments: Any, everyday: Sequence[str] = (), **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self._everyday = everyday
        if everyday:
            self.params.append(_help_all_option())

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what the verb does; the whole of it where all options are shown."""
        whole = self.help
        if self._everyday and not ctx.meta.get(_SHOWS_ALL) and whole:
            self.help = "\n\n".join(whole.split("\n\n")[:2])
        super().format_help_text(ctx, formatter)
        self.help = whole

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options; where `--help` was asked, only the everyday ones, and how to see the others."""
        if not self._everyday or ctx.meta.get(_SHOWS_ALL):
            super().format_options(ctx, formatter)
            return
        shown = [each for each in self.get_params(ctx) if each.name in (*self._everyday, *_OF_HELP)]
        records = [record for each in shown if (record := each.get_help_record(ctx)) is not None]
        with formatter.section("Options"):
            formatter.write_dl(records)
        n_others = len(self.get_params(ctx)) - len(shown) - 1
        formatter.write_paragraph()
        formatter.write_text(f"{n_others} more options: `{ctx.command_path} --help-all`.")


_SHOWS_ALL: Final = "gadgetops.help_all"
_OF_HELP: Final = ("help", "help_all")


def show_all(context: click.Context) -> None:
    """Have the help that is made in *context* leave out nothing."""
    context.meta[_SHOWS_ALL] = True


def _help_all_option() -> click.Option:
    def show(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
        if value and not context.resilient_parsing:
            show_all(context)
            click.echo(context.get_help())
            context.exit()

    how: dict[str, Any] = {"is_flag": True, "is_eager": True, "expose_value": False, "callback": show}
    return click.Option(["--help-all"], help="Show all options.", **how)


def verb(
    name: str, *, example: str, everyday: Sequence[str] = (), **attributes: Any
) -> Callable[[Function], click.Command]:
    """
    Return a decorator that makes a function the verb *name*.

    Args:
        name: As typed.
        example: Command lines shown at the end of `--help`, as they stand.
        everyday: As of `VerbCommand`.
        attributes: Passed on to `click.command`.
    """
    indented = "\n".join(f"  {line}" for line in example.strip().splitlines())

    def decorate(function: Function) -> click.Command:
        with_options = _quiet(_verbose(function))
        epilog = f"\b\nExample:\n{indented}"
        how = {"cls": VerbCommand, "everyday": everyday, "epilog": epilog, **attributes}
        make: Callable[[Function], click.Command] = click.command(name, **how)
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


def table_or_json_option(help: str = "Form of the result.") -> Callable[[Function], Function]:  # noqa: A002
    """Return `--format table|json`, as the argument `output_format`, of verbs whose answer is not a table."""
    return click.option(
        "--format",
        "output_format",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help=help,
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
