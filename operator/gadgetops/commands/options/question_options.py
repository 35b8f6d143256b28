"""What the verbs that ask a recording share: its argument, the filters, the grouping, the limit."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from gadgetops.commands.common.completers import recordings
from gadgetops.commands.common.messages import settings
from gadgetops.commands.common.options import Function, format_option
from gadgetops.commands.common.output import print_json, print_rows
from gadgetops.commands.common.terminal import show
from gadgetops.commands.common.value_types import count, nanoseconds, size
from gadgetops.commands.options.drawing_option import ascii_option, drawing
from gadgetops.errors import UsageError

if TYPE_CHECKING:
    from gadgetops.report.answers import Forms

SHOWN: Final = 20
"""How many groups a table shows, unless asked otherwise."""

INCONCLUSIVE: Final = 4
"""Exit status of an answer that says nothing, since nothing was recorded."""

_GROUPINGS: Final = ("stack", "function", "module", "thread", "process", "container")

recording_argument = click.argument(
    "recording", metavar="RECORDING", type=click.Path(path_type=Path), shell_complete=recordings
)
"""The folder of a recording, as the argument `recording`."""

_WRAPPERS: Final = "gadgetops/wrappers"
_ENGINE: Final = "gadgetops.engine"
_MASTER: Final = "gadgetops.master"


def _noted(key: str) -> Callable[[click.Context, click.Parameter, str], None]:
    """Return a callback that keeps an option for `opened`."""

    def callback(context: click.Context, _parameter: click.Parameter, value: str) -> None:
        context.meta[key] = value

    return callback


def _use_wrappers(_context: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    """Add the names of a file to the functions that are no place."""
    configured = Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()) / _WRAPPERS
    path = value or (configured if configured.is_file() else None)
    if path is not None:
        from gadgetops.questions.asking.wrappers import read_wrappers, use

        use(read_wrappers(path))


wrappers_option = click.option(
    "--wrappers",
    metavar="FILE",
    type=click.Path(path_type=Path),
    expose_value=False,
    callback=_use_wrappers,
    help="Functions that only pass allocations on, one a line, besides the known ones (malloc, xmalloc, "
    "operator new, …): never named as the place.  [default: gadgetops/wrappers in XDG_CONFIG_HOME]",
)
"""`--wrappers FILE`; the names are in use from then on."""


def fleet_options(function: Function) -> Function:
    """Add the argument `recording`, which may be a pattern, and the options that say what answers."""
    engine = click.option(
        "--engine",
        type=click.Choice(["duckdb", "spark"]),
        default="duckdb",
        show_default=True,
        expose_value=False,
        callback=_noted(_ENGINE),
        help="Engine for queries over many recordings: DuckDB in this program, or Spark.",
    )
    master = click.option(
        "--master",
        metavar="URL",
        default="local[*]",
        show_default=True,
        expose_value=False,
        callback=_noted(_MASTER),
        help="Spark master URL; a cluster has to see the recordings under the same paths.",
    )
    return recording_argument(wrappers_option(engine(master(function))))


def opened(path: Path, group_by: str | None = None) -> Any:
    """
    Return the recording at *path*, or those that it is a pattern of, which the options' engine answers for.

    Raises:
        RecordingError: There is none, or it cannot be read.
        UsageError: The engine is not there, or *group_by* is nothing to group by.
    """
    from gadgetops.fleet.fleet import check_group_by, is_fleet_grouping, open_fleet
    from gadgetops.recording.reader import open_recording

    if group_by is not None:
        check_group_by(group_by)
    if not (is_fleet(path) or is_fleet_grouping(group_by)):
        return open_recording(path)
    if _uses_spark():
        from gadgetops.fleet.spark_engine import SparkEngine

        return open_fleet(
            path, SparkEngine(click.get_current_context().meta[_MASTER], is_verbose=settings.verbose)
        )
    from gadgetops.fleet.duckdb_engine import DuckDBEngine

    return open_fleet(path, DuckDBEngine())


def is_fleet(path: Path) -> bool:
    """Return whether *path* is asked as a fleet: it stands for recordings by wildcards, or Spark answers."""
    return _uses_spark() or (any(each in str(path) for each in "*?[") and not path.exists())


def _uses_spark() -> bool:
    return click.get_current_context().meta.get(_ENGINE) == "spark"


def filter_options(function: Function) -> Function:
    """Add the filters, `--pid` and so on, and pass them on as one argument, `filters`."""

    @functools.wraps(function)
    def with_filters(*arguments: Any, **options: Any) -> Any:
        found = {name: options.pop(name) for name in _FILTERS}
        return function(*arguments, filters=_filters(**found), **options)

    decorated: Function = with_filters
    for option in reversed(_FILTERS.values()):
        decorated = option(decorated)
    return decorated


def group_by_option(default: str | None) -> Callable[[Function], Function]:
    """Return the option `--group-by`, as the argument `group_by`; None stands for no groups."""
    return click.option(
        "--group-by",
        metavar="|".join(_GROUPINGS),
        default=default,
        show_default=default is not None,
        help="What to take together. Function and module are those of the innermost frame that is no wrapper "
        "of an allocator; of many recordings also "
        "recording, host, image or label:KEY." + ("" if default else "  [default: no groups]"),
    )


def limit_option(function: Function) -> Function:
    """Add `--limit`, as the argument `limit`; None stands for the default."""
    return click.option(
        "--limit",
        type=count(),
        help=f"Show N groups.  [default: {SHOWN}; all as JSON or CSV]",
    )(function)


def question(
    group_by: str | None, *, is_drawn: bool = False
) -> Callable[[Callable[..., "Forms"]], Callable[..., int]]:
    """
    Return a decorator for the function of a verb that answers in groups.

    It adds the filters, `--group-by`, `--limit` and `--format`, prints the forms that the function returns,
    and returns the exit status. The function gets `filters` and `group_by`.

    Args:
        group_by: Default of `--group-by`.
        is_drawn: Whether to add `--ascii` and pass a `Drawing` on as `drawing`.
    """

    def decorate(function: Callable[..., "Forms"]) -> Callable[..., int]:
        @functools.wraps(function)
        def answer(*arguments: Any, limit: int | None, output_format: str, **options: Any) -> int:
            if is_drawn:
                options["drawing"] = drawing(options.pop("is_ascii"))
            return print_forms(function(*arguments, **options), output_format, limit)

        decorated = filter_options(group_by_option(group_by)(limit_option(format_option(answer))))
        return ascii_option(decorated) if is_drawn else decorated

    return decorate


def print_forms(forms: "Forms", output_format: str, limit: int | None = None) -> int:
    """
    Print an answer, and return the exit status.

    Args:
        forms: The answer.
        output_format: `"table"`, `"json"` or `"csv"`.
        limit: How many groups; None for the usual number in a table, and all elsewhere.
    """
    if output_format == "table":
        show(forms.text(SHOWN if limit is None else limit))
    elif output_format == "json":
        print_json(forms.json_value(limit))
    else:
        print_rows(forms.rows(limit), {column: column for column in forms.columns}, output_format)
    return status_of(*(certainty.word for certainty in forms.certainties))


def status_of(*words: str) -> int:
    """Return the exit status of answers whose certainties are *words*."""
    return INCONCLUSIVE if "inconclusive" in words else 0


def _filters(**options: Any) -> Any:
    from gadgetops.questions.asking.filters import Filters

    filters = Filters(
        pids=options["pid"],
        tids=options["thread"],
        functions=options["function"],
        modules=options["module"],
        since_ns=options["since"] or 0,
        until_ns=options["until"],
        min_size_bytes=options["min_size"] or 0,
        max_size_bytes=options["max_size"],
    )
    if filters.until_ns is not None and filters.until_ns <= filters.since_ns:
        raise UsageError(
            "--until is not after --since: no time is left", hint="both count from the first event"
        )
    if filters.max_size_bytes is not None and filters.max_size_bytes < filters.min_size_bytes:
        raise UsageError(
            "--max-size is below --min-size: no size is left", hint="both are sizes of one allocation"
        )
    return filters


def _option(name: str, text: str, **attributes: Any) -> Callable[[Function], Function]:
    return click.option(f"--{name}", help=text, **attributes)


_FILTERS: Final = {
    "pid": _option("pid", "Only of this process; may be repeated.", type=click.INT, multiple=True),
    "thread": _option(
        "thread",
        "Only by the thread with this id; may be repeated.",
        metavar="TID",
        type=click.INT,
        multiple=True,
    ),
    "function": _option(
        "function",
        "Only with a function on the stack whose name has NAME in it, or matches its * and ?; may be "
        "repeated.",
        metavar="NAME",
        multiple=True,
    ),
    "module": _option(
        "module",
        "The same for the path of an executable or library on the stack.",
        metavar="NAME",
        multiple=True,
    ),
    "since": _option(
        "since",
        "Only allocations from this time on: seconds, or such as 250ms, after the first event.",
        type=nanoseconds(),
    ),
    "until": _option("until", "Only allocations before this time.", type=nanoseconds()),
    "min_size": _option(
        "min-size",
        "Only of so many bytes, or such as 4k, and more.",
        type=size(),
    ),
    "max_size": _option("max-size", "Only of so many bytes and fewer.", type=size()),
}
"""The filters, in the order in which `--help` shows them."""
