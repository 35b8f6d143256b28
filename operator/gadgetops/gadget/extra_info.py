"""
The extra infos of `ig image inspect` (v0.48.0): what an image says about itself under names such as `ebpf.flowchart`.

Content is ig's, byte for byte, except that the lists which ig shows in random order (maps, programs, variables)
are sorted by name here.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gadgetops.bpf import mermaid
from gadgetops.bpf.disassembly import Disassembly
from gadgetops.bpf.graph import HIDDEN_MAPS, Graph
from gadgetops.bpf.maps import kernel_name
from gadgetops.bpf.object import Object
from gadgetops.gadget import wasm
from gadgetops.gadget.subject import Picture, Subject
from gadgetops.oci.content import ANNOTATION_CREATED, to_go_json

JSON: Final = "application/json"
MERMAID: Final = "text/mermaid"
YAML: Final = "text/yaml"
PLAIN: Final = "text/plain"

_DEFAULT_TAG: Final = "latest"


@dataclass(frozen=True)
class ExtraInfo:
    """One extra info; *content* is text of the media type *content_type*."""

    name: str
    content_type: str
    content: str


def names(subject: Subject) -> list[str]:
    """Return the names of all extra infos that *subject* has, sorted."""
    found: list[str] = []
    if subject.elf is not None:
        found += _OF_OBJECT
    if subject.picture is not None:
        found += _OF_IMAGE
    if subject.wasm is not None:
        found += _OF_MODULE
    return sorted(found)


def extra_info(subject: Subject, name: str) -> ExtraInfo:
    """
    Return the extra info *name*, one of `names`.

    Raises:
        ObjectError: The object cannot be read.
        ContentError: The WebAssembly module cannot be read.
    """
    if name in _OF_OBJECT and (obj := subject.object) is not None:
        content_type, show = _OF_OBJECT[name]
        return ExtraInfo(name, content_type, show(obj))
    if name in _OF_IMAGE and subject.picture is not None:
        content_type, tell = _OF_IMAGE[name]
        return ExtraInfo(name, content_type, tell(subject.picture))
    assert subject.wasm is not None
    content_type, read = _OF_MODULE[name]
    return ExtraInfo(name, content_type, read(subject.wasm))
