"""
Extra infos as `ig image inspect` (v0.48.0) prints them: `-o jsonpretty`, `json` or `yaml`, and `--jsonpath`.

JSON and YAML content is parsed and written anew, keys sorted; any other is text, followed by a line feed.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from gadgetops.errors import UsageError
from gadgetops.gadget.reading import extra_info
from gadgetops.gadget.reading.extra_info import ExtraInfo
from gadgetops.oci.content import to_go_json

Mode = Literal["jsonpretty", "json", "yaml"]
MODES: Final[tuple[Mode, ...]] = ("jsonpretty", "json", "yaml")

_STEP: Final = re.compile(
    r"""\.(?P<name>[A-Za-z_]\w*)|\[(?:(?P<position>\d+)|(?P<all>\*)|(['"])(?P<key>.*?)\4)\]"""
)

# These characters can stand only inside strings, so they may be replaced in JSON that is written already.
_GO_ESCAPES: Final = {ord(character): to_go_json(character).decode()[1:-1] for character in "<>&\u2028\u2029"}


def show_all(infos: Iterable[ExtraInfo], mode: Mode) -> str:
    """Return one document of all *infos*: name -> content and content type."""
    document = {info.name: {"content": info.content, "contentType": info.content_type} for info in infos}
    return _render(document, mode)


def show(info: ExtraInfo, mode: Mode, path: str | None = None) -> str:
    """
    Return *info*, or the part of it that *path* leads to.

    Raises:
        UsageError: *path* leads nowhere, is no path, or *info* has no parts.
        MetadataError: The metadata is no YAML mapping.
    """
    value = parsed(info)
    if path is not None:
        if isinstance(value, str):
            raise UsageError(f"{info.name} is text: a path leads only into JSON and YAML")
        value = follow(value, path)
    return f"{value}\n" if isinstance(value, str) else _render(value, mode)


def parsed(info: ExtraInfo) -> Any:
    """Return the content of *info*: what JSON or YAML stand for, or the text itself."""
    if info.content_type == extra_info.JSON:
        return json.loads(info.content)
    if info.content_type == extra_info.YAML:
        # PyYAML takes 30 ms to import, and only this needs it.
        from gadgetops.gadget.documents.go_yaml import from_yaml  # noqa: PLC0415

        return from_yaml(info.content, info.name)
    return info.content


def follow(value: Any, path: str) -> Any:
    """
    Return what *path* leads to in *value*: `.name`, `["key"]`, `[0]` or `[*]`, one after the other.

    That much of JSONPath there is here; after `[*]` the rest is applied to each element, and gives a list.

    Raises:
        UsageError: It leads nowhere, or is more than that.
    """
    rest = path.removeprefix("$")
    while rest:
        step = _STEP.match(rest)
        if step is None:
            raise UsageError(
                f"path {path!r}: cannot follow {rest!r}", hint='steps are .name, ["key"], [0] and [*]'
            )
        rest = rest[step.end() :]
        if step["all"]:
            return [follow(each, rest) for each in _elements(value, path)]
        value = _part(value, step, path)
    return value


def _elements(value: Any, path: str) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, list):
        return value
    raise UsageError(f"path {path!r}: [*] stands where there are no parts")


def _part(value: Any, step: re.Match[str], path: str) -> Any:
    if step["position"] is not None:
        if isinstance(value, list) and int(step["position"]) < len(value):
            return value[int(step["position"])]
    else:
        name = step["name"] if step["key"] is None else step["key"]
        if isinstance(value, Mapping) and name in value:
            return value[name]
    raise UsageError(f"path {path!r}: there is no {step[0]}")


def _render(value: Any, mode: Mode) -> str:
    if mode == "yaml":
        from gadgetops.gadget.documents.go_yaml import to_yaml  # noqa: PLC0415

        return to_yaml(value)
    indent = 2 if mode == "jsonpretty" else None
    separators = (",", ": ") if indent else (",", ":")
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, indent=indent, separators=separators)
    return f"{text.translate(_GO_ESCAPES)}\n"
