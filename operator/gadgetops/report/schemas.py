"""JSON Schemas of the answers; docs/answers.md says in words what they mean."""

import json
from importlib import resources
from typing import Any


def answer_schema(verb: str) -> dict[str, Any]:
    """
    Return the JSON Schema (draft 2020-12) of what *verb* prints with `--format json`.

    Raises:
        KeyError: No schema describes that verb.
    """
    path = resources.files(__package__) / "schema" / "answers.schema.json"
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if verb not in document["$defs"]:
        raise KeyError(verb)
    return {**document, "$ref": f"#/$defs/{verb}"}
