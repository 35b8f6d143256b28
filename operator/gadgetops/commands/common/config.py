"""
Settings that are written down: defaults of options, for the project and for the user.

    # gadgetops.toml here, or [tool.gadgetops] in pyproject.toml here, or gadgetops/config.toml of the user
    store = "user"                    # for every verb that has the option
    suppressions = ["known.supp"]     # paths are meant from the file's folder
    [record]
    duration = "1min"                 # for one verb
    [budget]
    max-leak-bytes = 0                # what `check` holds recordings to

What stands in the project goes before what stands with the user; what is typed goes before both.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from gadgetops.errors import ConfigError

PROJECT: Final = Path("gadgetops.toml")
_PYPROJECT: Final = Path("pyproject.toml")
_BUDGET: Final = "budget"
_MOST_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Setting:
    """
    One setting of a file.

    Attributes:
        verb: The verb it is for; None for every verb that has the option.
        option: Name of the option, without dashes in front.
        value: As the file has it.
        path: The file.
    """

    verb: str | None
    option: str
    value: Any
    path: Path

    @property
    def name(self) -> str:
        """What the file calls it."""
        return self.option if self.verb is None else f"{self.verb}.{self.option}"


def read_settings() -> list[Setting]:
    """
    Return the settings of all files, those that go before others first.

    Raises:
        ConfigError: A file is no TOML, or cannot be read.
    """
    return [setting for path, table in _tables() for setting in _settings(path, table)]


def defaults_of(command: click.Command, verb: str) -> dict[str, Any]:
    """
    Return the defaults that the settings give to the options of *command*, by parameter.

    Raises:
        ConfigError: A setting for this verb names no option of it.
    """
    found: dict[str, Any] = {}
    options = {name: each for each in command.params for name in _long_names(each)}
    # What is made for one verb goes before what is made for all, in one file and in all files.
    for setting in sorted(read_settings(), key=lambda setting: setting.verb is None):
        if setting.verb not in (None, verb):
            continue
        option = options.get(setting.option)
        if option is None and setting.verb is not None:
            raise ConfigError(setting.path, f"{setting.name}: `{verb}` has no option --{setting.option}")
        if option is not None and option.name is not None:
            found.setdefault(option.name, _meant(option, setting))
    return found


def budget_file() -> Path | None:
    """Return the file here that has a budget, the first of those that are read; None if there is none."""
    for path, table in _tables():
        if isinstance(table.get(_BUDGET), Mapping):
            return path
    return None


def _tables() -> Iterator[tuple[Path, Mapping[str, Any]]]:
    if PROJECT.is_file():
        yield PROJECT, _read(PROJECT)
    if _PYPROJECT.is_file():
        tool = _read(_PYPROJECT).get("tool")
        own = tool.get("gadgetops") if isinstance(tool, Mapping) else None
        yield _PYPROJECT, own if isinstance(own, Mapping) else {}
    user = user_file()
    if user.is_file():
        yield user, _read(user)


def user_file() -> Path:
    """Return the user's file, whether it is there or not."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "gadgetops/config.toml"


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.loads(file.read(_MOST_BYTES).decode())
    except OSError as error:
        raise ConfigError(path, error.strerror or str(error)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(path, str(error)) from error


def _settings(path: Path, table: Mapping[str, Any]) -> Iterator[Setting]:
    for key, value in table.items():
        if key == _BUDGET:
            continue
        if isinstance(value, Mapping):
            yield from (Setting(key, option, inner, path) for option, inner in value.items())
        else:
            yield Setting(None, key, value, path)


def _long_names(parameter: click.Parameter) -> list[str]:
    names = parameter.opts if isinstance(parameter, click.Option) else []
    return [name.removeprefix("--") for name in names if name.startswith("--")]


def _meant(option: click.Parameter, setting: Setting) -> Any:
    """Return the value as it would have been typed; a relative path is meant from the file's folder."""
    values = setting.value if isinstance(setting.value, list) else [setting.value]
    if isinstance(option.type, click.Path):
        values = [str(setting.path.parent / str(value)) for value in values]
    elif not getattr(option, "is_flag", False):
        values = [str(value) for value in values]
    return values if option.multiple else values[-1]
