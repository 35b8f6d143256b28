"""
The command line: one module per verb, in rooms by what they are about, loaded only when its verb is called.

A verb's function imports the modules that do its work, so that `--help` does not wait for DuckDB.

This package is the only place that parses arguments, prints errors and chooses exit statuses:
0 done, 1 failed, 2 wrong request, 3 drift or budget exceeded, 4 inconclusive. Results go to standard output,
progress and messages to standard error.
"""

import contextlib
import gc
import importlib
import keyword
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from gadgetops import __version__
from gadgetops.commands.common import messages
from gadgetops.commands.common.config import defaults_of
from gadgetops.commands.common.progress_line import ProgressLine
from gadgetops.commands.common.verb_group import VerbGroup, expanded, usage_error
from gadgetops.errors import GadgetOpsError, StorageError
from gadgetops.pairing.progress import listener, query_listener

_YOUNG_OBJECTS: Final = 50_000
"""After how many new objects garbage is looked for; Python's own number is 700."""

_PRELOADED: Final = "GADGETOPS_LD_PRELOAD"
"""Keeps the user's LD_PRELOAD while this program starts again without it."""

VERBS_BY_ROOM: Final = {
    "images": {
        "build": "Compile a gadget and pack it into an image.",
        "inspect": "Show what is in an image or object.",
        "init": "Write a new gadget to start from.",
        "docs": "Write or check the generated parts of Markdown files.",
        "artifacthub": "Write or check a gadget's page on Artifact Hub.",
        "diff-images": "Show what differs between two images, and what breaks.",
        "list": "List the images of the store.",
        "tag": "Give an image another name.",
        "remove": "Remove images from the store.",
        "prune": "Remove the images of the store that have no name.",
        "export": "Write images to a tar file.",
        "import-image": "Read images from a tar file.",
    },
    "registry": {
        "push": "Send an image of the store to a registry.",
        "pull": "Fetch an image of a registry into the store.",
        "copy": "Copy an image from any place to any other.",
        "resolve": "Print the digest of an image.",
        "login": "Log in to a registry.",
        "logout": "Log out of a registry.",
        "keygen": "Make a pair of keys for signing.",
        "sign": "Sign an image.",
        "verify": "Check who signed an image, and that it is unaltered.",
    },
    "recordings": {
        "doctor": "Say what works here, what does not, and what to do about it.",
        "record": "Record the allocations of a process.",
        "live": "Watch a recording while it grows.",
        "import": "Make a recording of what `ig run -o json` printed.",
        "info": "Show what a recording holds, and what is missing.",
        "symbolize": "Find functions and lines for a recording's addresses.",
        "report": "Write a page to open in a browser, or a picture.",
        "convert": "Write a recording in another tool's format.",
    },
    "questions": {
        "leaks": "Show what was never released, by stack.",
        "summary": "Show a recording at a glance: totals, peak, rates.",
        "top": "Show who allocates most.",
        "tree": "Show who calls what allocates, with sums.",
        "temporary": "Show what is released at once.",
        "peak": "Show what was live when most bytes were.",
        "timeline": "Show live memory and allocations over time.",
        "sizes": "Show how large allocations are.",
        "lifetimes": "Show how long allocations lived.",
        "resizes": "Show what realloc resized, and how much it held.",
        "faults": "Show wrong releases, and allocations that failed.",
        "diff": "Compare two recordings, stack by stack.",
        "sql": "Ask a recording anything, in SQL.",
        "check": "Say whether a recording keeps to its budget.",
    },
    "program": {
        "config": "Show which settings are in force, and from where.",
        "completion": "Print a script for the shell's completion.",
    },
}
"""Package of this one -> its verbs, each with its one-line help; `--help` needs no verb's module."""

VERBS: Final = {verb: text for verbs in VERBS_BY_ROOM.values() for verb, text in verbs.items()}
"""Each verb and its one-line help, in the order people meet them."""

_ROOMS: Final = {verb: room for room, verbs in VERBS_BY_ROOM.items() for verb in verbs}


_FIRST: Final[Sequence[str]] = (
    *("record", "leaks", "report", "live", "summary", "top", "check", "diff", "doctor"),
    *("peak", "timeline", "temporary", "sizes", "lifetimes", "faults", "sql", "info"),
)
"""Verbs that stand first in their section, everyday ones before all others."""
_DOCUMENTS: Final = ("init", "docs", "artifacthub")
"""Verbs about what is written beside images."""
_SECTIONS: Final[Mapping[str, Callable[[str], bool]]] = {
    "Record and ask": lambda verb: _ROOMS[verb] in ("recordings", "questions"),
    "Images": lambda verb: _ROOMS[verb] == "images" and verb not in _DOCUMENTS,
    "Documents": lambda verb: verb in _DOCUMENTS,
    "Registry": lambda verb: _ROOMS[verb] == "registry",
    "The program": lambda verb: _ROOMS[verb] == "program",
}
"""Title of each section of the help -> whether a verb stands there."""


def _sections() -> dict[str, dict[str, str]]:
    order = [verb for verb in _FIRST if verb in VERBS]
    order += [verb for verb in VERBS if verb not in order]
    sections = {
        title: {verb: VERBS[verb] for verb in order if belongs(verb)} for title, belongs in _SECTIONS.items()
    }
    return {title: verbs for title, verbs in sections.items() if verbs}


def load(verb: str) -> click.Command:
    """Import the module of *verb* and return its command."""
    command: click.Command = importlib.import_module(module_name(verb)).command
    return command


def module_name(verb: str) -> str:
    """Return the full name of the module that has *verb*; a keyword of Python gets a `_` behind it."""
    name = verb.replace("-", "_")
    return f"{__name__}.{_ROOMS[verb]}.{name}{'_' if keyword.iskeyword(name) else ''}"


@click.group(
    cls=VerbGroup,
    sections=_sections(),
    load=load,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    subcommand_metavar="VERB …",
)
@click.version_option(__version__, prog_name="gadgetops")
@click.pass_context
def cli(context: click.Context) -> None:
    """Record allocations and say what leaks; build, inspect and ship Inspektor Gadget images.

    `gadgetops help VERB` shows what a verb does, with an example.
    """
    verb = context.invoked_subcommand
    if verb is not None and verb != "config":
        context.default_map = {verb: defaults_of(load(verb), verb)}


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the verb that *argv* asks for and return the exit status.

    Args:
        argv: Arguments without the program's name; those of this process if none are given.
    """
    if argv is None and "record" in sys.argv:
        _leave_preloaded_libraries()
    _replace_closed_streams()
    arguments = expanded(sys.argv[1:] if argv is None else argv)
    # What is imported stays: looking through it for garbage would take a tenth of a second of some verbs.
    gc.set_threshold(_YOUNG_OBJECTS)
    try:
        with ProgressLine() as line:
            listener.set(line.paired)
            query_listener.set(line.queried)
            status = cli.main(arguments, prog_name="gadgetops", standalone_mode=False, obj=arguments)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.Abort:
        return 130
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`gadgetops list | head`): nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (click.ClickException, GadgetOpsError, OSError) as error:
        return _fail(error)
    return status if isinstance(status, int) else 0


def _leave_preloaded_libraries() -> None:
    """
    Start this program again without the libraries of LD_PRELOAD, which are meant for the command.

    A foreign allocator in the recorder costs memory; a sanitizer changes its status.
    """
    if _PRELOADED in os.environ:
        os.environ["LD_PRELOAD"] = os.environ.pop(_PRELOADED)
    elif libraries := os.environ.get("LD_PRELOAD"):
        environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        # Where that is refused it goes on with them.
        with contextlib.suppress(OSError):
            line = [sys.executable, *sys.orig_argv[1:]]
            os.execve(sys.executable, line, {**environment, _PRELOADED: libraries})  # noqa: S606


def _replace_closed_streams() -> None:
    """Have /dev/null stand in for closed standard streams; the programs that we execute find them closed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # The lowest number that is free: this one, as they come in order.
            null = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(null, "w" if number else "r", closefd=False))


def _fail(error: click.ClickException | GadgetOpsError | OSError) -> int:
    known = _as_known(error)
    messages.error(str(known), cause=error)
    return known.exit_status


def _as_known(error: click.ClickException | GadgetOpsError | OSError) -> GadgetOpsError:
    if isinstance(error, GadgetOpsError):
        return error
    if isinstance(error, click.ClickException):
        return usage_error(error)
    return StorageError.from_os_error(error, Path(error.filename or "input/output"))
