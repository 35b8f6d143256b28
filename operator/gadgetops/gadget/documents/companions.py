"""Datasources and fields that ig makes at run time: from types, annotations and settings."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from gadgetops.bpf.contract import Datasource, Field
from gadgetops.gadget.documents.metadata import Metadata

FORMATTED_TYPES: Final = frozenset(
    {
        *("gadget_timestamp", "gadget_signal", "gadget_errno", "gadget_syscall", "gadget_bytes"),
        *("gadget_file_mode", "gadget_file_flags", "gadget_duration", "gadget_uid", "gadget_gid"),
        "gadget_kernel_stack",
    }
)
"""Types whose values ig writes as text into a second field: `x` beside `x_raw`."""

CONTAINER_TYPES: Final = frozenset({"gadget_mntns_id", "gadget_netns_id"})
"""Types by which ig knows the container of an event."""

ENDPOINT_TYPES: Final = frozenset({"gadget_l3endpoint_t", "gadget_l4endpoint_t"})
"""Types whose fields ig rewrites altogether."""

USER_STACK_TYPE: Final = "gadget_user_stack"
KERNEL_STACK_TYPE: Final = "gadget_kernel_stack"

_USER_STACK_FIELDS: Final = ("addresses", "buildid", "symbols")
_TARGET_ANNOTATIONS: Final = frozenset(
    {
        *(f"formatters.{name}.target" for name in ("timestamp", "syscall", "signal", "errno", "bytes")),
        *(f"formatters.{name}.target" for name in ("duration", "file_mode", "file_flags")),
        *("ebpf.formatter.enum", "ebpf.formatter.kstack", "uidgidresolver.target"),
    }
)
_ENVIRONMENT_ANNOTATION: Final = "env.fields."
_REST_ANNOTATION: Final = "ebpf.rest.name"
_OPERATOR_DATASOURCES: Final = {"ebpf": "bpfstats", "process": "processes", "cgroup": "cgroups"}


def operator_datasources(metadata: Metadata) -> set[str]:
    """Return the names of the datasources that the settings in *metadata* make ig add."""
    operators = metadata.mapping("operator")
    added = {
        name
        for operator, name in _OPERATOR_DATASOURCES.items()
        if (operators.get(operator) or {}).get("emitstats", "").lower() == "true"
    }
    if metadata.annotations.get("enable-containers-datasource", "").lower() == "true":
        added.add("containers")
    return added


class KnownFields:
    """
    The fields that a datasource has when ig runs it.

    Args:
        datasource: As the object has it.
        metadata: Its annotations name further fields.
    """

    def __init__(self, datasource: Datasource, metadata: Metadata) -> None:
        self._fields = (*datasource.key_fields, *datasource.fields)
        self._metadata = metadata
        self._keys = ("datasources", datasource.name)
        self.names = {name for field in self._fields for name in self.of(field)} | set(self._annotated())
        self._in_lower_case = {name.lower() for name in self.names}
        self._subtrees = tuple(f"{name.lower()}." for name in self._open())

    def has(self, name: str) -> bool:
        """Return whether the datasource has a field called *name*, case aside."""
        wanted = name.lower()
        return wanted in self._in_lower_case or f"{wanted}.".startswith(self._subtrees)

    def of(self, field: Field) -> Iterator[str]:
        """Yield the name of *field* and the names of what ig makes from it."""
        yield field.name
        types = set(field.type_names)
        is_formatted = field.enum is not None or types & FORMATTED_TYPES
        if is_formatted and field.name.endswith("_raw"):
            yield field.name.removesuffix("_raw")
        parent = field.name.removesuffix(field.member)
        if "gadget_uid" in types:
            yield f"{parent}user"
        if "gadget_gid" in types:
            yield f"{parent}group"
        if USER_STACK_TYPE in types:
            yield from (f"{field.name}.{added}" for added in _USER_STACK_FIELDS)
        for target in self._targets(field):
            yield from (target, f"{parent}{target}")

    def _targets(self, field: Field) -> list[str]:
        annotations = self._annotations(*self._keys, "fields", field.name, "annotations")
        return [text for key, text in annotations.items() if key.lower() in _TARGET_ANNOTATIONS]

    def _annotated(self) -> Iterator[str]:
        for key, text in self._annotations(*self._keys, "annotations").items():
            if key.startswith(_ENVIRONMENT_ANNOTATION):
                yield key.removeprefix(_ENVIRONMENT_ANNOTATION)
            elif key == _REST_ANNOTATION:
                yield text

    def _open(self) -> Iterator[str]:
        """Yield the names below which ig makes fields that differ from version to version."""
        if any(CONTAINER_TYPES & set(field.type_names) for field in self._fields):
            yield from ("k8s", "runtime")
        for field in self._fields:
            if ENDPOINT_TYPES & set(field.type_names):
                yield field.name

    def _annotations(self, *keys: str) -> Mapping[str, Any]:
        return self._metadata.mapping(*keys)
