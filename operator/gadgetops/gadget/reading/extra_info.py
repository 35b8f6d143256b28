"""
The extra infos of `ig image inspect` (v0.55.1, or an older one): what an image says about itself under names
such as `ebpf.flowchart`.

Content is ig's, byte for byte, except that the lists which ig shows in random order (maps, programs,
variables) are sorted by name here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Final

from gadgetops.bpf.diagrams import mermaid
from gadgetops.bpf.diagrams.graph import HIDDEN_MAPS, Graph
from gadgetops.bpf.disassembly import Disassembly
from gadgetops.bpf.maps import Map, kernel_name
from gadgetops.bpf.object import Object, Variable
from gadgetops.bpf.reading import Reading
from gadgetops.gadget.reading.subject import Picture, Subject
from gadgetops.gadget.reading.wasm import Module
from gadgetops.oci.content import ANNOTATION_CREATED, to_go_json

JSON: Final = "application/json"
MERMAID: Final = "text/mermaid"
YAML: Final = "text/yaml"
PLAIN: Final = "text/plain"

_DEFAULT_TAG: Final = "latest"
_WASM_API_VERSION: Final = "1"
"""The only one that ig 0.48 runs: it shows nothing of a module that returns another."""


@dataclass(frozen=True)
class ExtraInfo:
    """
    One extra info, made when it is asked for.

    Attributes:
        content_type: One of `JSON`, `MERMAID`, `YAML` and `PLAIN`.
        make: Returns the content; raises `ObjectError` or `ContentError` if object or module cannot be read.
    """

    name: str
    content_type: str
    make: Callable[[], str] = field(repr=False)

    @cached_property
    def content(self) -> str:
        """The content: text of the media type *content_type*."""
        return self.make()


def extra_infos(subject: Subject) -> dict[str, ExtraInfo]:
    """Return all that *subject* has, by name, sorted."""
    found: list[ExtraInfo] = []
    if (obj := subject.object) is not None:
        found += _all(_OF_OBJECT, obj)
    if subject.picture is not None:
        found += _all(_OF_PICTURE, subject.picture)
    if subject.wasm is not None:
        found += _all(_OF_MODULE, Module.from_bytes(subject.wasm))
    return {info.name: info for info in sorted(found, key=lambda info: info.name)}


def _all(makers: Mapping[str, tuple[str, Callable[[Any], str]]], source: Any) -> list[ExtraInfo]:
    return [
        ExtraInfo(name, content_type, partial(make, source)) for name, (content_type, make) in makers.items()
    ]


def _flowchart(obj: Object) -> str:
    return mermaid.flowchart(Graph.from_object(obj))


def _sequence(obj: Object) -> str:
    return mermaid.sequence(Graph.from_object(obj))


def _sections(obj: Object) -> str:
    return _json([section.name for section in obj.sections])


def _maps(obj: Object) -> str:
    # Go writes null where there are none.
    shown = [found for found in obj.maps if found.name not in HIDDEN_MAPS]
    return _json([{"Name": found.name, "Type": _map_type(found)} for found in shown] or None)


def _programs(obj: Object) -> str:
    disassembly = Disassembly(obj)
    return _json(
        [
            {
                "Section": program.section,
                "Source": disassembly.source(program),
                "SourceWithRelocation": disassembly.source_with_relocations(program),
            }
            for program in obj.programs
        ]
        or None
    )


def _variables(obj: Object) -> str:
    return _json(
        [
            {
                "Name": variable.name,
                "Offset": variable.offset_bytes,
                "Size": variable.size_bytes,
                "Map": _map_of(variable, obj.reading),
            }
            for variable in obj.variables
        ]
        or None
    )


def _map_of(variable: Variable, reading: Reading) -> str:
    """Return the name of the map that holds *variable*: as in the kernel, since 0.51 as in the object."""
    return variable.section if reading >= Reading.IG_0_51 else kernel_name(variable.section)


_MAP_TYPES: Final = (
    *("UnspecifiedMap", "Hash", "Array", "ProgramArray", "PerfEventArray", "PerCPUHash", "PerCPUArray"),
    *("StackTrace", "CGroupArray", "LRUHash", "LRUCPUHash", "LPMTrie", "ArrayOfMaps", "HashOfMaps"),
    *("DevMap", "SockMap", "CPUMap", "XSKMap", "SockHash", "CGroupStorage", "ReusePortSockArray"),
    *("PerCPUCGroupStorage", "Queue", "Stack", "SkStorage", "DevMapHash", "StructOpsMap", "RingBuf"),
    *("InodeStorage", "TaskStorage", "BloomFilter", "UserRingbuf", "CgroupStorage", "Arena"),
)
"""What ig calls the types of maps, by the kernel's number."""


def _map_type(found: Map) -> str:
    return _MAP_TYPES[found.type] if found.type < len(_MAP_TYPES) else f"MapType({found.type})"


def _repository(picture: Picture) -> str:
    return _split(picture.name)[0]


def _tag(picture: Picture) -> str:
    return _split(picture.name)[1]


def _split(name: str) -> tuple[str, str]:
    """Return repository and tag of a reference as it was typed; nothing is completed but the tag."""
    name = name.partition("@")[0]
    colon = name.rfind(":")
    if colon <= name.rfind("/"):
        return name, _DEFAULT_TAG
    return name[:colon], name[colon + 1 :]


def _json(value: Any) -> str:
    return to_go_json(value).decode()


_OF_OBJECT: Final[Mapping[str, tuple[str, Callable[[Object], str]]]] = {
    "ebpf.flowchart": (MERMAID, _flowchart),
    "ebpf.maps": (JSON, _maps),
    "ebpf.programs": (JSON, _programs),
    "ebpf.sections": (JSON, _sections),
    "ebpf.sequence": (MERMAID, _sequence),
    "ebpf.variables": (JSON, _variables),
}
_OF_PICTURE: Final[Mapping[str, tuple[str, Callable[[Picture], str]]]] = {
    "oci.created": (PLAIN, lambda picture: picture.manifest.annotations.get(ANNOTATION_CREATED, "")),
    "oci.digest": (PLAIN, lambda picture: picture.manifest.config.digest),
    "oci.manifest": (JSON, lambda picture: picture.manifest.to_bytes().decode()),
    "oci.metadata": (YAML, lambda picture: picture.metadata.decode(errors="replace")),
    "oci.repository": (PLAIN, _repository),
    "oci.tag": (PLAIN, _tag),
}
_OF_MODULE: Final[Mapping[str, tuple[str, Callable[[Module], str]]]] = {
    "wasm.gadgetAPIVersion": (PLAIN, lambda _module: _WASM_API_VERSION),
    "wasm.upcalls": (JSON, lambda module: _json(module.imported_from("ig"))),
}
