"""Which engine `gadgetops record` takes when it is not told."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import click

from gadgetops.commands.recordings.record_target import TargetRequest
from gadgetops.errors import GadgetOpsError

_OF_GADGET: Final = ("image", "probe_at", "unwind", "stack_size", "max_stacks", "keep_slices", "library")
"""Options that only mean something to a gadget in the kernel."""
_OF_LIBRARY: Final = frozenset({"sample-every", "min-size"})
"""Parameters of the gadget that the preloaded library has, too."""


class Choice(NamedTuple):
    """
    An engine.

    Args:
        engine: `preload` or `libbpf`.
        why: In words.
        is_asked_for: The command line leaves no other one.
    """

    engine: str
    why: str
    is_asked_for: bool = False


def choose_engine(request: TargetRequest, parameters: Sequence[str]) -> Choice:
    """
    Return the engine for *request*: eBPF where it is allowed, else the preloaded library.

    Args:
        request: What is to be recorded.
        parameters: Keys of the gadget's parameters that are set.
    """
    if not request.command_line:
        return Choice("libbpf", "what runs already is reached by eBPF alone", is_asked_for=True)
    given = [f"--{name.replace('_', '-')}" for name in _OF_GADGET if is_given(name)]
    options = [*given, *(key for key in parameters if key.replace("_", "-") not in _OF_LIBRARY)]
    if options:
        return Choice("libbpf", f"{options[0]} is an option of the gadget", is_asked_for=True)
    refused = _why_not_traced()
    if refused is None:
        return Choice("libbpf", "eBPF is allowed here, and sees every program")
    return Choice("preload", f"eBPF is not allowed here: {refused}")


def is_given(name: str) -> bool:
    """Return whether option *name*, as an argument of the verb, stands on the command line."""
    default = (None, click.core.ParameterSource.DEFAULT)
    return click.get_current_context().get_parameter_source(name) not in default


def _why_not_traced() -> str | None:
    """Return why eBPF programs cannot be attached here; None if they can."""
    from gadgetops.trace.kernel.libbpf import library
    from gadgetops.trace.machine import prepare_to_trace

    try:
        prepare_to_trace()
        library()
    except (GadgetOpsError, OSError) as error:
        return str(error).partition("\n")[0]
    return None
