"""What a recording holds, as text: facts, what was attached, stacks, modules, and what is missing."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from gadgetops.questions.asking.windows import windows_of
from gadgetops.questions.info import Info, ModuleInfo
from gadgetops.units import format_bytes, format_duration, plural

_LABEL_WIDTH: Final = 12
_SHOWN_MODULES: Final = 10
_SHOWN_PROCESSES: Final = 5
_WAYS: Final = {"dwarf": "processes unwound by their rules (DWARF):", "fp": "walked by frame pointers:"}
_FRAME_POINTERS: Final = "build it with -fno-omit-frame-pointer, or record with --unwind dwarf"


def info_as_text(info: Info) -> str:
    """Return *info* as lines for people."""
    return "\n".join(_lines(info))


def _lines(info: Info) -> Iterator[str]:
    for label, text in _facts(info):
        yield f"{label:<{_LABEL_WIDTH}}{_printable(text)}"
    yield from _section("attached", _attached(_mapping(info.header, "target")))
    yield from _section("stacks", _stacks(info))
    yield from _section("modules", _modules(info.modules))
    yield from _section("missing", _missing(info))


def _facts(info: Info) -> Iterator[tuple[str, str]]:
    header = info.header
    yield "recording", f"{info.path}, {format_bytes(info.size_bytes)}, {plural(info.n_segments, 'segment')}"
    yield "target", _target(_mapping(header, "target"))
    yield "processes", f"{info.n_processes:,}"
    yield "host", _joined(_mapping(header, "host"), "name", "kernel", "machine")
    if header.get("engine") == "preload":
        yield "engine", f"preload, {header.get('library', 'unknown')}"
    else:
        yield "gadget", _gadget(header)
    if way := _mapping(header, "attach"):
        yield "attached by", _attach_way(way)
    if price := _mapping(_mapping(header, "budget"), "price"):
        yield "price", _price(price, _mapping(header, "budget"))
    if (windows := windows_of(header)) is not None:
        yield "windows", windows.sentence
    yield "tool", str(header.get("tool", "unknown"))
    yield "began", _moment(header.get("started_at_ns"))
    yield "ended", f"{_moment(header.get('ended_at_ns'))}{_length(header)}, {_end(header)}"
    yield "checksums", "compared" if info.is_checked else "none: an older version wrote it"
    yield "events", f"{info.stacks.n_events:,}, {_lost(_mapping(header, 'counters'))}"


def _price(price: Mapping[str, Any], budget: Mapping[str, Any]) -> str:
    calls, slowdown, allowed = price.get("calls_per_s"), price.get("slowdown"), budget.get("max_slowdown")
    if not all(isinstance(each, int | float) for each in (calls, slowdown, allowed)):
        return "unknown"
    times = f"tracing all of them makes it {slowdown:.2f} times as slow, {allowed:.2f} times are allowed"
    return f"{calls:,} calls a second when it began: {times}"


def _section(title: str, lines: Iterator[str]) -> Iterator[str]:
    found = [*lines]
    if found:
        yield ""
        yield f"{title}:"
        yield from (f"  {_printable(line)}" for line in found)


def _target(target: Mapping[str, Any]) -> str:
    if "command" in target:
        return f"{' '.join(map(str, target['command']))} (process {target.get('pid', 'unknown')})"
    if named := _named(target.get("processes")):
        started = _named(target.get("descendants"))
        return named + (f", and what they had started: {started}" if started else "")
    if isinstance(container := target.get("container"), Mapping):
        return f"container {container.get('name', 'unknown')}, image {container.get('image', 'unknown')}"
    known = {name: value for name, value in target.items() if isinstance(value, str | int) and value != 0}
    return ", ".join(f"{name} {value}" for name, value in known.items()) or "unknown"


def _named(processes: Any) -> str:
    """Return the processes of a target, each by name and number; empty where it lists none."""
    known = [each for each in processes if isinstance(each, Mapping)] if isinstance(processes, list) else []
    names = [f"{each.get('comm') or 'unknown'} (process {each.get('pid', 'unknown')})" for each in known]
    left_out = len(names) - _SHOWN_PROCESSES
    return ", ".join(names[:_SHOWN_PROCESSES]) + (f" and {left_out} more" if left_out > 0 else "")


def _gadget(header: Mapping[str, Any]) -> str:
    """Return which object was loaded, and whether it is the recorder's own."""
    image, tool, whose = _mapping(header, "image"), header.get("tool"), ""
    if isinstance(is_own := image.get("is_own"), bool):
        whose = f", built from the sources of {tool}" if is_own else f", other than that of {tool}"
    return _joined(image, "reference", "digest") + whose


def _attach_way(way: Mapping[str, Any]) -> str:
    cookies = "with" if way.get("has_cookies") else "without"
    return f"{way.get('name')}, {cookies} attach cookies ({way.get('how')})"


def _end(header: Mapping[str, Any]) -> str:
    return str(header.get("end") or "the recorder did not end it")


def _lost(counters: Mapping[str, Any]) -> str:
    return f"{counters['lost']:,} lost" if type(counters.get("lost")) is int else "unknown how many were lost"


def _moment(time_ns: object) -> str:
    if type(time_ns) is not int:
        return "unknown"
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(sep=" ", timespec="milliseconds")


def _length(header: Mapping[str, Any]) -> str:
    began, ended = header.get("started_at_ns"), header.get("ended_at_ns")
    return f", after {format_duration(ended - began)}" if type(began) is type(ended) is int else ""


def _attached(target: Mapping[str, Any]) -> Iterator[str]:
    for program, place in sorted(_mapping(target, "attached").items()):
        yield f"{program}  {_place(place)}"
    for program in target.get("missing") or ():
        yield f"{program}  not attached: its function is not there"


def _place(place: object) -> str:
    """Return where a program is attached, and why there, in words."""
    if isinstance(place, list):
        return "; ".join(map(_place, place))
    if isinstance(place, dict) and place.get("path", "") is None:
        return str(place.get("function"))
    if isinstance(place, dict) and {"path", "function", "offset", "instruction", "reason"} <= place.keys():
        where = f"{place['path']}: {place['function']}+{place['offset']}, `{place['instruction']}`"
        return f"{where}: {place['reason']}"
    if isinstance(place, dict):
        return ", ".join(f"{name} {value}" for name, value in place.items() if value is not None)
    return str(place)


def _stacks(info: Info) -> Iterator[str]:
    stacks = info.stacks
    yield f"{stacks.n_stacks:,} distinct{_unwound(info.header)}"
    if stacks.waiting:
        yield f"{stacks.waiting:,} still to be unwound: run `gadgetops symbolize {info.path}`"
    if stacks.without:
        yield f"{plural(stacks.without, 'event')} without one: none was asked for"
    if stacks.failed:
        yield f"{plural(stacks.failed, 'event')} without one: no room for it; use a larger --max-stacks"
    if stacks.empty:
        yield f"{plural(stacks.empty, 'event')} with an empty one"
    if stacks.truncated:
        yield f"{stacks.truncated:,} as deep as the kernel goes: the outermost callers are missing"
    alone = _mapping(info.header, "counters").get("caller_only")
    if alone:
        yield f"{plural(alone, 'event')} with their caller alone: there was no time to copy the stack"
    why = "no rules to unwind it" if "unwind" in info.header else f"no frame pointers; {_FRAME_POINTERS}"
    for path, count in stacks.cut_short.items():
        yield f"{count:,} end early, in {path}: it seems to have {why}"


def _unwound(header: Mapping[str, Any]) -> str:
    """Return how the stacks of processes were made, where more than one way was open."""
    known = _mapping(header, "unwind")
    counters = _mapping(header, "counters")
    ways = [f"{text} {known[way]:,}" for way, text in _WAYS.items() if known.get(way)]
    cut = counters.get("unwound_cut", 0) + counters.get("unwound_unknown", 0)
    return "".join([*(f"; {way}" for way in ways), f"; {cut:,} unwound in part" if cut else ""])


def _modules(modules: tuple[ModuleInfo, ...]) -> Iterator[str]:
    for module in modules[:_SHOWN_MODULES]:
        known = f"{module.n_symbolised:,} of {module.n_addresses:,} addresses have a function"
        yield f"{module.path}  {known}, build id {module.build_id or 'none'}"
    if len(modules) > _SHOWN_MODULES:
        yield f"… and {plural(len(modules) - _SHOWN_MODULES, 'more module')}"


def _missing(info: Info) -> Iterator[str]:
    yield from info.problems
    if info.lacks_symbols:
        yield f"functions and lines: run `gadgetops symbolize {info.path}`"
    counters = _mapping(info.header, "counters")
    if counters.get("lost_mappings"):
        yield f"{counters['lost_mappings']:,} reports of mappings and processes: some modules may be unknown"


def _mapping(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _printable(text: str) -> str:
    """Return *text* without what a terminal would obey: names come from the traced program."""
    return "".join(character if character.isprintable() else "�" for character in text)


def _joined(document: Mapping[str, Any], *names: str) -> str:
    return " ".join(str(document[name]) for name in names if document.get(name)) or "unknown"
