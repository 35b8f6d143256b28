"""How numbers are typed, the same in every option: sizes, counts, durations, as `units` reads them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

from gadgetops.errors import UsageError
from gadgetops.units import format_bytes, format_count, parse_bytes, parse_count, parse_duration

_S: Final = 10**9

if TYPE_CHECKING:
    _Type = click.ParamType[Any]
else:
    _Type = click.ParamType
"""Some versions of click know of which values a type is."""


class _Value(_Type):
    """
    A number with a unit.

    Args:
        name: What an option's help calls the value, in capitals.
        parse: Reads what was typed.
        show: Writes a number for a message.
        least: The smallest number that makes sense.
        most: The largest one.
    """

    def __init__(
        self,
        name: str,
        parse: Callable[[str], float],
        show: Callable[[int], str],
        least: int = 0,
        most: int | None = None,
    ) -> None:
        self.name = name
        self._parse = parse
        self._show = show
        self._least = least
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number that *value* says; what is a number already is one of ours."""
        if not isinstance(value, str):
            return value
        option = param.opts[0] if param is not None and param.opts else self.name
        try:
            number = self._parse(value)
        except UsageError as error:
            raise UsageError(f"{option}: {error.problem}", hint=error.hint) from error
        if number < self._least or (self._most is not None and number > self._most):
            raise UsageError(f"{option} {value}: expected {self._range()}")
        return number

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return how help calls the value."""
        return self.name.upper()

    def _range(self) -> str:
        if self._most is None:
            return f"at least {self._show(self._least)}"
        return f"{self._show(self._least)} to {self._show(self._most)}"


def size(least: int = 0, most: int | None = None) -> _Type:
    """Return the type of sizes, in bytes: `4096`, `64k`, `1.5MiB`."""
    return _Value("size", parse_bytes, format_bytes, least, most)


def count(least: int = 0, most: int | None = None) -> _Type:
    """Return the type of counts: `1000`, `10_000`, `10k`, `1.5M`."""
    return _Value("n", parse_count, format_count, least, most)


def seconds() -> _Type:
    """Return the type of durations, in seconds: `10`, `250ms`, `1min`, `1h30min`."""
    return _Value("duration", lambda text: parse_duration(text) / _S, lambda number: f"{number} s")


def nanoseconds() -> _Type:
    """Return the type of times after the first event, in nanoseconds, written as durations are."""
    return _Value("time", parse_duration, lambda number: f"{number} ns")


def percent(least: int = 0, most: int = 100) -> _Type:
    """Return the type of shares, in percent: `5`, `0.5%`."""
    return _Value("percent", _parse_percent, lambda number: f"{number} %", least, most)


def _parse_percent(text: str) -> float:
    try:
        return float(text.removesuffix("%"))
    except ValueError as error:
        raise UsageError(f"not a percentage: {text!r}", hint="write it as `5%`") from error
