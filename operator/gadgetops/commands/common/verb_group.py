"""How the program is typed: its verbs in groups, what was meant by a wrong word, `help VERB`."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click

from gadgetops.errors import UsageError

HELP: Final = "help"
_CLOSE: Final = 0.6


class VerbGroup(click.Group):
    """
    A group that knows its verbs' names and help without importing their modules.

    Args:
        sections: Title of each part of the help -> its verbs, in order, each with its one-line help.
        load: Imports a verb's module and returns its command.
    """

    def __init__(
        self,
        *arguments: Any,
        sections: Mapping[str, Mapping[str, str]],
        load: Callable[[str], click.Command],
        **attributes: Any,
    ) -> None:
        super().__init__(*arguments, **attributes)
        self._sections = sections
        self._load = load
        self._verbs = [verb for verbs in sections.values() for verb in verbs]

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs, the everyday ones first."""
        return self._verbs

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of the verb *cmd_name*; None if there is none."""
        return self._load(cmd_name) if cmd_name in self._verbs else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the verb that *args* begins with; `UsageError` says which one was probably meant."""
        verb = args[0]
        if verb not in self._verbs and not verb.startswith("-"):
            hint = meant(verb, self._verbs) or "`gadgetops --help` lists them"
            raise UsageError(f"no such verb: {verb}", hint=hint)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs, a section each, with their columns in line."""
        width = max(map(len, self._verbs))
        for title, verbs in self._sections.items():
            with formatter.section(title):
                formatter.write_dl([(verb.ljust(width), text) for verb, text in verbs.items()])


def expanded(arguments: Sequence[str]) -> list[str]:
    """Return *arguments* with `help VERB`, and nothing at all, as the options that they stand for."""
    if not arguments:
        return ["--help"]
    return [*arguments[1:2], "--help"] if arguments[0] == HELP else [*arguments]


def meant(typed: str, known: Sequence[str]) -> str | None:
    """Return a hint of which of *known* was meant by *typed*; None where none is like it."""
    begun = [each for each in known if each.startswith(typed)]
    found = begun[:3] or difflib.get_close_matches(typed, known, n=3, cutoff=_CLOSE)
    return f"did you mean {' or '.join(found)}?" if found else None


def usage_error(error: click.ClickException) -> UsageError:
    """Return what *error*, of click, comes to in our words."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"see `{context.command_path if context else 'gadgetops'} --help`"
    if isinstance(error, click.NoSuchOption):
        close = meant(error.option_name, _options(context))
        return UsageError(f"no such option: {error.option_name}", hint=close or hint)
    if isinstance(error, click.MissingParameter) and error.param is not None and context is not None:
        return UsageError(f"{_typed(error.param, context)} is missing", hint=hint)
    if isinstance(error, click.BadParameter) and error.param is not None and context is not None:
        return UsageError(f"{_typed(error.param, context)}: {error.message.rstrip('.')}", hint=hint)
    if isinstance(error, click.BadOptionUsage) and "requires an argument" in error.message:
        return UsageError(f"{error.option_name} needs a value", hint=hint)
    return UsageError(error.format_message().rstrip("."), hint=hint)


def _typed(parameter: click.Parameter, context: click.Context) -> str:
    """Return an option as it is typed, or the name of an argument."""
    is_option = isinstance(parameter, click.Option)
    return max(parameter.opts, key=len) if is_option else parameter.make_metavar(context)


def _options(context: click.Context | None) -> list[str]:
    """Return the long options of the verb that *context* is of."""
    parameters = context.command.get_params(context) if context else []
    return [name for parameter in parameters for name in parameter.opts if name.startswith("--")]
