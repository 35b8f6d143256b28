"""
Which map a program runs on, for programs that iterate over a map or handle the sockets in one.

ig (since 0.55) attaches such a program only if a marker names the map:
`gadget_mapelem_iter_target_<program>___<map>` of GADGET_ITER_TARGET_MAP, and
`gadget_sk_prog_target_<program>___<map>` of GADGET_SK_TARGET_MAP.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from gadgetops.bpf.maps import MapType
from gadgetops.bpf.object import Object
from gadgetops.errors import ObjectError

_SEPARATOR: Final = "___"


@dataclass(frozen=True)
class TargetKind:
    """
    A kind of programs that run on a map.

    Args:
        prefix: How its markers begin.
        macro: What writes them in C.
        sections: In which sections such programs are; each also with `/…` behind it.
        map_types: The types that the map may have; empty for any.
    """

    prefix: str
    macro: str
    sections: tuple[str, ...]
    map_types: tuple[MapType, ...] = ()

    def takes(self, section: str) -> bool:
        """Return whether a program in *section* is of this kind."""
        return section in self.sections or section.startswith(tuple(f"{each}/" for each in self.sections))


KINDS: Final = (
    TargetKind(
        "gadget_mapelem_iter_target_",
        "GADGET_ITER_TARGET_MAP",
        ("iter/bpf_map_elem", "iter.s/bpf_map_elem"),
    ),
    TargetKind(
        "gadget_sk_prog_target_",
        "GADGET_SK_TARGET_MAP",
        ("sk_skb", "sk_msg"),
        (MapType.SOCKMAP, MapType.SOCKHASH),
    ),
)


def read_target_maps(kind: TargetKind, markers: Iterable[str], obj: Object) -> Iterator[tuple[str, str]]:
    """
    Yield program and map of each of *markers*, given without *kind*'s prefix.

    Raises:
        ObjectError: A marker names what the object lacks, a program or map of another kind, or a program that
            another marker names.
    """
    seen = set()
    for marker in markers:
        program, _, name = marker.partition(_SEPARATOR)
        problem = _problem(kind, program, name, obj)
        if program in seen:
            problem = f"program {program!r} has another marker"
        if problem is not None:
            raise ObjectError(f"marker {kind.prefix}{marker}: {problem}")
        seen.add(program)
        yield program, name


def _problem(kind: TargetKind, program: str, map_name: str, obj: Object) -> str | None:
    if not program or not map_name or _SEPARATOR in map_name:
        return "expected program and map"
    found_program, found_map = obj.program(program), obj.map(map_name)
    if found_program is None:
        return f"there is no program {program!r}"
    if not kind.takes(found_program.section):
        expected = " or ".join(kind.sections)
        return f"program {program!r}: expected section {expected}, got {found_program.section}"
    if found_map is None:
        return f"there is no map {map_name!r}"
    if kind.map_types and found_map.type not in kind.map_types:
        expected = " or ".join(each.name.lower() for each in kind.map_types)
        return f"map {map_name!r}: expected {expected}, got {found_map.type_name}"
    return None
