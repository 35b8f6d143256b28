"""Filling in what a gadget.yaml does not say yet."""

from typing import Any, Final

from gadgetops.bpf.contract import Contract, Parameter
from gadgetops.gadget.documents.check import undocumented
from gadgetops.gadget.documents.metadata import Metadata
from gadgetops.gadget.documents.yaml_lines import add_keys

TEXTS: Final = {
    "name": "name",
    "description": "description",
    "homepageURL": "homepage URL",
    "documentationURL": "documentation URL",
    "sourceURL": "source code URL",
}
"""Texts that every gadget should have, in ig's order -> what ig 0.48 asks for in their place."""


def updated(metadata: Metadata, contract: Contract | None) -> Metadata:
    """
    Return *metadata* with all added that it should say and does not.

    Texts are filled in where they are missing or empty, and each field and parameter of the object gets a
    description that says what to write. What is there stays, byte for byte; doing it again changes nothing.

    Args:
        metadata: As it is; empty if there is no file yet.
        contract: What the object promises; None for a gadget without programs.

    Raises:
        MetadataError: It is written in a way that nothing can be added to.
    """
    additions = _additions(metadata, contract)
    if not additions:
        return metadata
    name = metadata.document.name
    return Metadata.from_bytes(add_keys(metadata.content, additions, name, first=list(TEXTS)), name)


def _additions(metadata: Metadata, contract: Contract | None) -> dict[str, Any]:
    additions: dict[str, Any] = {
        key: f"TODO: Fill the gadget {what}" for key, what in TEXTS.items() if not metadata.text(key)
    }
    for problem in undocumented(metadata, contract, with_types_of_ig=True) if contract else ():
        *parents, last = problem.keys
        place = additions
        for key in parents:
            place = place.setdefault(key, {})
        parameter = contract.parameter(last) if contract and parents[0] == "params" else None
        place[last] = _field() if parameter is None else _parameter(parameter)
    return additions


def _field() -> dict[str, Any]:
    return {"annotations": {"description": "TODO: Fill field description"}}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    default = "" if parameter.default is None else str(parameter.default).lower()
    return {
        "key": parameter.key,
        "defaultValue": default,
        "description": "TODO: Fill parameter description",
    }
