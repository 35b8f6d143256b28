"""Which programs ig can attach, told from the names of their sections (ig v0.55, a superset of v0.48)."""

from collections.abc import Callable, Mapping
from typing import Final

from gadgetops.bpf.object import Program
from gadgetops.bpf.target_maps import KINDS

DISABLED: Final = "gadget_program_disabled"
"""As `attach_to` in gadget.yaml: load the program, attach it nowhere."""

ITERATORS: Final = ("task", "task_file", "tcp", "udp", "ksym", "bpf_map_elem")


def why_unattachable(
    program: Program, attach_to: str | None = None, target_maps: Mapping[str, str] | None = None
) -> str | None:
    """
    Return why ig cannot attach *program*, None if it can.

    One program that cannot be attached ends the whole run of its gadget.

    Args:
        program: The program.
        attach_to: What gadget.yaml says of it, in place of what its section's name says.
        target_maps: Programs that have a map to run on, and the map.
    """
    if attach_to == DISABLED:
        return None
    macro = next((kind.macro for kind in KINDS if kind.takes(program.section)), None)
    if macro is not None and program.name not in (target_maps or {}):
        return f"section {program.section!r}: ig has to know its map; add {macro}({program.name}, MAP)"
    if program.section.startswith(_WITHOUT_TARGET):
        return None
    kind, _, target = program.section.partition("/")
    why_no_target = _KINDS.get(kind)
    if why_no_target is None:
        return f"ig cannot attach a program in section {program.section!r}"
    reason = why_no_target(attach_to or target)
    return None if reason is None else f"section {program.section!r}: {reason}"


def _why_no_name(target: str) -> str | None:
    return None if target else "it does not say what to attach to"


def _why_no_symbol(target: str) -> str | None:
    file, colon, symbol = target.partition(":")
    if not (file and colon and symbol) or ":" in symbol:
        return f"expected LIBRARY:SYMBOL, got {target!r}"
    return _why_no_file(file)


def _why_no_usdt(target: str) -> str | None:
    file, *names = target.split(":")
    if len(names) != 2 or not (file and all(names)):
        return f"expected LIBRARY:PROVIDER:NAME, got {target!r}"
    return _why_no_file(file)


def _why_no_file(file: str) -> str | None:
    if "/" in file and not file.startswith("/"):
        return f"{file!r} is neither a library's name nor an absolute path"
    return None


def _why_no_tracepoint(target: str) -> str | None:
    category, _, name = target.partition("/")
    return None if category and name else f"expected CATEGORY/NAME, got {target!r}"


def _why_no_iterator(target: str) -> str | None:
    return None if target in ITERATORS else f"expected one of {', '.join(ITERATORS)}, got {target!r}"


def _why_no_direction(target: str) -> str | None:
    direction, _, name = target.partition("/")
    return None if direction in ("ingress", "egress") and name else "expected ingress/NAME or egress/NAME"


_WITHOUT_TARGET: Final = ("socket", "sockops", "sk_skb", "sk_msg")
_KINDS: Final[Mapping[str, Callable[[str], str | None]]] = {
    "uprobe": _why_no_symbol,
    "uretprobe": _why_no_symbol,
    "usdt": _why_no_usdt,
    "tracepoint": _why_no_tracepoint,
    "tp": _why_no_tracepoint,
    "iter": _why_no_iterator,
    "classifier": _why_no_direction,
    **dict.fromkeys(("kprobe", "kretprobe", "fentry", "fexit", "tp_btf", "perf_event"), _why_no_name),
    **dict.fromkeys(("raw_tp", "raw_tracepoint", "lsm", "lsm.s"), _why_no_name),
}
