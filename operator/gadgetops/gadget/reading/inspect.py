"""What `gadgetops inspect` tells people: the facts of an object or image in one JSON-ready value."""

from typing import Any

from gadgetops.bpf.contract import Contract, Datasource, Field, Parameter
from gadgetops.bpf.diagrams.graph import Graph
from gadgetops.bpf.object import Object
from gadgetops.errors import ObjectError
from gadgetops.gadget.reading.subject import Picture, Subject
from gadgetops.oci.content import ANNOTATION_CREATED


def facts(subject: Subject) -> dict[str, Any]:
    """
    Return what there is to know about *subject*, in a form that stays.

    Members, all always there: `name`; `digest` of the image's index, or of the object; `architecture` and
    `created` of an image, else null; `size_bytes` of the object and its `license`; `programs`, a list of
    `name`, `section` and `n_instructions` (subprograms included); `maps`, a list of `name`, `type`,
    `key_size_bytes`, `value_size_bytes`, `max_entries` and `flags`, data sections left out; `edges`, a list
    of `program`, `verb` and `map`; `datasources`, a list of `name`, `kind`, `map`, `struct`, `size_bytes` and
    `fields`, each field with `name`, `offset_bytes`, `size_bytes`, `kind`, `type_names` and, of an enum,
    `values`; `parameters`, a list of `key`, `variable`, `kind` and `default`; `problem`, null, or why
    datasources and parameters are not known. Lists are sorted by name, but edges by program and first use,
    fields by declaration.
    """
    obj = subject.object
    contract, problem = _contract(obj)
    return {
        "name": subject.name,
        "digest": subject.digest,
        **_of_picture(subject.picture),
        "size_bytes": len(subject.elf or b""),
        **_of_object(obj),
        "datasources": [_datasource(each) for each in contract.datasources],
        "parameters": [_parameter(each) for each in contract.parameters],
        "problem": problem,
    }


def _contract(obj: Object | None) -> tuple[Contract, str | None]:
    nothing = Contract((), ())
    if obj is None:
        return nothing, None
    try:
        return Contract.from_object(obj), None
    except ObjectError as error:
        return nothing, error.problem


def _of_picture(picture: Picture | None) -> dict[str, Any]:
    return {
        "architecture": None if picture is None else picture.architecture,
        "created": None if picture is None else picture.manifest.annotations.get(ANNOTATION_CREATED),
    }


def _of_object(obj: Object | None) -> dict[str, Any]:
    if obj is None:
        return {"license": "", "programs": [], "maps": [], "edges": []}
    return {
        "license": obj.license,
        "programs": [
            {
                "name": program.name,
                "section": program.section,
                "n_instructions": sum(len(function.instructions) for function in program.functions),
            }
            for program in obj.programs
        ],
        "maps": [
            {
                "name": found.name,
                "type": found.type_name,
                "key_size_bytes": found.key_size_bytes,
                "value_size_bytes": found.value_size_bytes,
                "max_entries": found.max_entries,
                "flags": found.flags,
            }
            for found in obj.maps
            if not found.is_data
        ],
        "edges": [edge._asdict() for edge in Graph.from_object(obj).edges],
    }


def _datasource(datasource: Datasource) -> dict[str, Any]:
    return {
        "name": datasource.name,
        "kind": datasource.kind,
        "map": datasource.map,
        "struct": datasource.struct,
        "size_bytes": datasource.size_bytes,
        "fields": [_field(field) for field in (*datasource.key_fields, *datasource.fields)],
    }


def _field(field: Field) -> dict[str, Any]:
    value = {
        "name": field.name,
        "offset_bytes": field.offset_bytes,
        "size_bytes": field.size_bytes,
        "kind": field.kind,
        "type_names": list(field.type_names),
    }
    return value if field.enum is None else {**value, "values": dict(field.enum.values)}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "key": parameter.key,
        "variable": parameter.variable,
        "kind": parameter.kind,
        "default": parameter.default,
    }
