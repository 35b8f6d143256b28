"""`gadgetops config`: which settings are in force, and from where."""

import os

import click

from gadgetops.commands.common.config import read_settings, user_file
from gadgetops.commands.common.options import format_option, verb
from gadgetops.commands.common.output import print_rows

_VARIABLES = (
    "GADGETOPS_STORE",
    "GADGETOPS_PLAIN_HTTP",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "REGISTRY_AUTH_FILE",
    "SOURCE_DATE_EPOCH",
    "IG_SOURCE_PATH",
)
"""Variables that are honoured."""
_COLUMNS = {"setting": "setting", "value": "value", "from": "from"}


@verb("config", example="gadgetops config\ngadgetops config --format json")
@format_option
def command(output_format: str) -> None:
    """Show the settings that are in force, and from where.

    Settings are defaults of options: of gadgetops.toml here, of [tool.gadgetops] in pyproject.toml here, and
    of gadgetops/config.toml in XDG_CONFIG_HOME (~/.config), the first one that has it. A table [VERB] is for
    one verb. What is typed, and variables, go before them.
    """
    rows = [
        {"setting": name, "value": os.environ[name], "from": "environment"}
        for name in _VARIABLES
        if os.environ.get(name)
    ]
    known: set[str] = set()
    for setting in read_settings():
        if setting.name not in known:
            known.add(setting.name)
            rows.append({"setting": setting.name, "value": setting.value, "from": str(setting.path)})
    print_rows(rows, _COLUMNS, output_format)
    if not rows and output_format == "table":
        click.echo(f"nothing is set; gadgetops.toml here or {user_file()} may set any option", err=True)
