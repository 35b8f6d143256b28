"""JSON Schemas of the answers; docs/answers.md says in words what they mean."""

import json
from importlib import resources
from typing import Any

from gadgetops.questions.figures import FIGURE_QUESTIONS, FigureQuestion


def answer_schema(verb: str) -> dict[str, Any]:
    """
    Return the JSON Schema (draft 2020-12) of what *verb* prints with `--format json`.

    Raises:
        KeyError: No schema describes that verb.
    """
    path = resources.files(__package__) / "schema" / "answers.schema.json"
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for question in FIGURE_QUESTIONS.values():
        document["$defs"][question.verb] = _figures(question, document["$defs"]["top"]["properties"])
    if verb not in document["$defs"]:
        raise KeyError(verb)
    return {**document, "$ref": f"#/$defs/{verb}"}


def _figures(question: FigureQuestion, of_top: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a question's answer; how sure it is is described as in `top`."""
    figures = {
        figure.name: {"type": "integer", "minimum": 0, "description": figure.meaning}
        for figure in question.figures
    }
    others = ("by", "total", "groups")
    members = {name: schema for name, schema in of_top.items() if name not in others}
    group = {"group": {"$ref": "#/$defs/group"}, **figures}
    return _closed(
        {**members, "total": _closed(figures), "groups": {"type": "array", "items": _closed(group)}}
    )


def _closed(members: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": members,
        "required": [*members],
        "additionalProperties": False,
    }
