"""Documents against their JSON Schemas, which lie beside this module and serve editors as well."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache, partial
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from gadgetops.gadget.documents.document import Document, describe
from gadgetops.gadget.documents.problems import Problem, nearest, suggestion

if TYPE_CHECKING:
    from jsonschema import ValidationError

_CASE_ASIDE: Final = ("gadget",)
"""Documents whose keys are read without regard to case, as ig does when it runs a gadget."""
NEAR_MISS: Final = 0.84
"""From this likeness on a free annotation key counts as a known one misspelt: `columns.with`."""


def problems(document: Document, schema_name: str) -> list[Problem]:
    """
    Return everything in *document* that its schema does not allow.

    Args:
        document: What to look at.
        schema_name: `"gadget"`, `"build"` or `"artifacthub"`.
    """
    return [_problem_of(error) for error in _validator(schema_name).iter_errors(document.value)]


def load_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema `"gadget"`, `"build"` or `"artifacthub"`, draft 2020-12."""
    text = (resources.files(__package__) / "schema" / f"{name}.schema.json").read_text()
    schema: dict[str, Any] = json.loads(text)
    return schema


def _problem_of(error: "ValidationError") -> Problem:
    keys = tuple(str(key) for key in error.absolute_path)
    if error.validator in ("additionalProperties", "x-refuseNearMisses"):
        return Problem(keys, error.message, is_harmless=True)
    if error.validator == "required":
        return Problem(keys, error.message)
    schema: Any = error.schema
    return Problem(keys, f"expected {schema['description']}, got {describe(error.instance)}")


def _wrong(message: str, key: str) -> "ValidationError":
    # jsonschema takes 60 ms to import: only what validates pays, not each `--help`.
    from jsonschema import ValidationError  # noqa: PLC0415

    return ValidationError(message, path=[key])


@cache
def _validator(schema_name: str) -> Any:
    from jsonschema import Draft202012Validator, validators  # noqa: PLC0415

    own_keywords = {
        "additionalProperties": partial(_additional_properties, case_aside=schema_name in _CASE_ASIDE),
        "required": _required,
        "x-refuseNearMisses": _refuse_near_misses,
    }
    extended: Any = validators.extend(Draft202012Validator, own_keywords)  # type: ignore[no-untyped-call]
    return extended(load_schema(schema_name))


def _additional_properties(
    validator: Any, allowed: Any, instance: Any, schema: Mapping[str, Any], *, case_aside: bool
) -> Iterator["ValidationError"]:
    """As in the standard, but an error of its own, with the nearest known key, for each unknown one."""
    known = schema.get("properties", {})
    in_lower_case = {each.lower(): each for each in known if case_aside}
    for key in _unknown_keys(instance, schema):
        if key.lower() in in_lower_case:
            yield from validator.descend(instance[key], known[in_lower_case[key.lower()]], path=key)
        elif allowed is False:
            yield _wrong(f"unknown key{suggestion(key, known)}", key)
        else:
            yield from validator.descend(instance[key], allowed, path=key)


def _required(
    _validator: Any, required: list[str], instance: Any, _schema: Mapping[str, Any]
) -> Iterator["ValidationError"]:
    """As in the standard, but the error's path leads to the missing key."""
    for key in required if isinstance(instance, dict) else []:
        if key not in instance:
            yield _wrong("missing", key)


def _refuse_near_misses(
    validator: Any, refuse: bool, instance: Any, schema: Mapping[str, Any]
) -> Iterator["ValidationError"]:
    """
    Any key may be added, except one that is most likely a known one misspelt.

    Case aside: annotations are read at run time alone, where ig takes all keys as lower case.
    """
    known = schema["properties"]
    for key in _unknown_keys(instance, schema) if refuse else []:
        near = nearest(key, known, cutoff=NEAR_MISS)
        if near == key.lower():
            yield from validator.descend(instance[key], known[near], path=key)
        elif near is not None:
            yield _wrong(f"unknown key (did you mean {near!r}?)", key)


def _unknown_keys(instance: Any, schema: Mapping[str, Any]) -> list[str]:
    if not isinstance(instance, dict):
        return []
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    unknown = (key for key in instance if key not in known)
    return [key for key in unknown if not any(re.search(pattern, key) for pattern in patterns)]
