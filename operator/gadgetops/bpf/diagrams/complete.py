"""
All that programs do with maps, and what they run on: also what `ig` does not draw.

Besides look-ups, updates and deletions: output by ring buffers, stacks, tail calls, storage, redirection,
iteration; the maps in maps of maps; what each program is attached to; and the source line of each use.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from gadgetops.bpf import helpers
from gadgetops.bpf.btf_ext import Line
from gadgetops.bpf.diagrams.flow import NOTHING, Call, Values, calls_of
from gadgetops.bpf.diagrams.paths import Site
from gadgetops.bpf.maps import Map, MapType
from gadgetops.bpf.object import Object, Program

_USES: Final = {
    "map_lookup_elem": ("Lookup", 1),
    "map_update_elem": ("Update", 1),
    "map_delete_elem": ("Delete", 1),
    "map_push_elem": ("Push", 1),
    "map_pop_elem": ("Pop", 1),
    "map_peek_elem": ("Peek", 1),
    "map_lookup_percpu_elem": ("LookupPercpu", 1),
    "for_each_map_elem": ("ForEach", 1),
    "perf_event_output": ("EventOutput", 2),
    "skb_output": ("EventOutput", 2),
    "xdp_output": ("EventOutput", 2),
    "perf_event_read": ("EventRead", 1),
    "perf_event_read_value": ("EventRead", 1),
    "ringbuf_output": ("RingbufOutput", 1),
    "ringbuf_reserve": ("RingbufReserve", 1),
    "ringbuf_reserve_dynptr": ("RingbufReserve", 1),
    "ringbuf_query": ("RingbufQuery", 1),
    "user_ringbuf_drain": ("RingbufDrain", 1),
    "get_stackid": ("StackId", 2),
    "tail_call": ("TailCall", 2),
    "timer_init": ("TimerInit", 2),
    "redirect_map": ("Redirect", 1),
    "sk_redirect_map": ("Redirect", 2),
    "sk_redirect_hash": ("Redirect", 2),
    "msg_redirect_map": ("Redirect", 2),
    "msg_redirect_hash": ("Redirect", 2),
    "sk_select_reuseport": ("Redirect", 2),
    "sock_map_update": ("Update", 2),
    "sock_hash_update": ("Update", 2),
    "skb_under_cgroup": ("InCgroup", 2),
    "current_task_under_cgroup": ("InCgroup", 1),
    "get_local_storage": ("Storage", 1),
    **{f"{kind}_storage_get": ("Storage", 1) for kind in ("sk", "inode", "task", "cgrp")},
    **{f"{kind}_storage_delete": ("StorageDelete", 1) for kind in ("sk", "inode", "task", "cgrp")},
}
_BY_NUMBER: Final = {helpers.NAMES.index(name): use for name, use in _USES.items()}
"""Helper id -> verb, and the register that holds the map."""
_LOOKUPS: Final = frozenset({helpers.NAMES.index("map_lookup_elem")})
_MAPS_OF_MAPS: Final = (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS)


class Use(NamedTuple):
    """
    *program* calls a helper named after *verb* on *map*, as *line* of the source says.

    Attributes:
        program: The program.
        verb: What it does.
        map: To which map.
        line: Where it does so first; None if the object does not say.
        sites: The calls.
        certain_sites: Those that are on this map whichever way led there.
    """

    program: str
    verb: str
    map: str
    line: Line | None
    sites: frozenset[Site] = frozenset()
    certain_sites: frozenset[Site] = frozenset()


class Held(NamedTuple):
    """*map* holds *held*, a map or program, at *position*; None if any number of them may come."""

    map: str
    held: str
    position: int | None


@dataclass(frozen=True)
class CompleteGraph:
    """
    Programs, maps, and all that is between them.

    Args:
        programs: Name -> the section, which says what it is attached to; sorted.
        maps: Name -> the map, sorted; the maps in maps of maps included, data sections left out.
        uses: By program, then by place; each verb on a map once, with its first line.
        held: What maps of maps and of programs hold.
        runs_on: Program -> the map whose entries or sockets it runs on.
    """

    programs: Mapping[str, str]
    maps: Mapping[str, Map]
    uses: tuple[Use, ...]
    held: tuple[Held, ...]
    runs_on: Mapping[str, str]

    @classmethod
    def from_object(cls, obj: Object, runs_on: Mapping[str, str] | None = None) -> "CompleteGraph":
        """
        Return the graph of *obj*.

        Args:
            obj: The object, with its code.
            runs_on: `Contract.target_maps` of it.
        """
        maps = {found.name: found for found in obj.maps if not found.is_data}
        inner = {found.name: found.inner for found in maps.values() if found.inner is not None}
        held = tuple(_held(maps))
        named = {each.map for each in held}
        templates = {each.name: each for name, each in inner.items() if name not in named}
        held += tuple(Held(name, each.name, None) for name, each in inner.items() if name not in named)
        uses = tuple(use for program in obj.programs for use in _uses(program, obj, held))
        return cls(
            {program.name: program.section for program in obj.programs},
            dict(sorted((maps | templates).items())),
            uses,
            held,
            dict(runs_on or {}),
        )


def _held(maps: Mapping[str, Map]) -> Iterator[Held]:
    for found in maps.values():
        for index, name in found.contents:
            yield Held(found.name, name, index)


def _uses(program: Program, obj: Object, held: tuple[Held, ...]) -> Iterator[Use]:
    of_maps = {found.name for found in obj.maps if found.type in _MAPS_OF_MAPS}
    lines = {
        section: {each.position_bytes: each for each in found}
        for section, found in obj.extension.lines.items()
    }

    def result(helper: int, first: Values) -> Values:
        if helper not in _LOOKUPS or not first & of_maps:
            return NOTHING
        return frozenset(each.held for each in held if each.map in first)

    calls: dict[tuple[str, str], list[Call]] = {}
    for call in calls_of(program, result):
        verb, register = _BY_NUMBER.get(call.helper, ("", 0))
        for name in sorted(call.argument(register)) if verb else ():
            calls.setdefault((verb, name), []).append(call)
    for (verb, name), found in calls.items():
        certain = [each for each in found if len(each.argument(_BY_NUMBER[each.helper][1])) == 1]
        line = _line_of(found[0], lines.get(found[0].function.section, {}))
        yield Use(program.name, verb, name, line, _sites(found), _sites(certain))


def _sites(calls: Iterable[Call]) -> frozenset[Site]:
    return frozenset((call.function.name, call.instruction.position_bytes) for call in calls)


def _line_of(call: Call, lines: Mapping[int, Line]) -> Line | None:
    """Return the line of a call: that of the last instruction at or before it which begins one."""
    gap = call.function.gap_bytes
    start = call.function.instructions[0].position_bytes - gap
    for place in range(call.instruction.position_bytes - gap, start - 1, -8):
        if place in lines:
            return lines[place]
    return None
