"""
A second witness: what the `ig` on PATH says about the same object.

ig reads images only from its own store, whose path is compiled in. It is given a store with this one image,
mounted in its place in a mount namespace of its own, so that no store is touched, nothing is pulled, and no
privileges are needed where users may have namespaces.
"""

import difflib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from gadgetops.bpf.reading import Reading
from gadgetops.errors import ToolError, UsageError
from gadgetops.gadget.media_types import ARTIFACT_TYPE, MEDIA_TYPE_OBJECT, MEDIA_TYPE_WASM
from gadgetops.gadget.reading.extra_info import ExtraInfo
from gadgetops.gadget.reading.subject import Picture, Subject, host_architecture
from gadgetops.oci.content import (
    EMPTY_JSON,
    MEDIA_TYPE_EMPTY,
    MEDIA_TYPE_INDEX,
    MEDIA_TYPE_MANIFEST,
    Descriptor,
    Index,
    Manifest,
    Platform,
)
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.reference import Reference
from gadgetops.process import is_installed, run

_STORE_NAME: Final = "oci-store"
_OBJECT_NAME: Final = "localhost/object:latest"
_IN_PLACE: Final = " && ".join(
    [
        "mount -t tmpfs tmpfs /var/lib",
        "mkdir /var/lib/ig",
        'mount --bind "$1" /var/lib/ig',
        "shift",
        'exec ig "$@"',
    ]
)
_UNORDERED: Final = frozenset({"ebpf.maps", "ebpf.programs", "ebpf.variables"})
"""Lists that ig shows in random order."""
_DIFF_LINES_LIMIT: Final = 40


@dataclass(frozen=True)
class Difference:
    """An extra info of which ig shows something else; `str()` is a unified diff, from ours to ig's."""

    name: str
    ours: str
    theirs: str

    def __str__(self) -> str:
        lines = difflib.unified_diff(
            self.ours.splitlines(),
            self.theirs.splitlines(),
            f"{self.name} (ours)",
            f"{self.name} (ig)",
            lineterm="",
        )
        shown = list(lines)
        left_out = len(shown) - _DIFF_LINES_LIMIT
        if left_out > 0:
            shown = [*shown[:_DIFF_LINES_LIMIT], f"… {left_out} lines left out …"]
        return "\n".join(shown)


def is_present() -> bool:
    """Return whether ig, and what it takes to give it a store, are on PATH."""
    return is_installed("ig") and is_installed("unshare")


def reading() -> Reading:
    """
    Return how the ig on PATH reads objects.

    Raises:
        ToolError: It cannot be run, or does not say its version.
    """
    output = run(["ig", "version"], hint="install ig, or pass --engine ours")
    try:
        return Reading.of_ig(output.strip())
    except UsageError as error:
        raise ToolError(["ig", "version"], status=0, output=output) from error


def ask(subject: Subject, options: Sequence[str]) -> str:
    """
    Return what `ig image inspect` prints about *subject*.

    Args:
        options: Further options, such as `["--extra-info", "ebpf.flowchart"]`.

    Raises:
        ToolError: ig is missing, may not run here, or cannot read the object.
    """
    with tempfile.TemporaryDirectory(prefix="gadgetops-ig-") as folder:
        name = _store(subject, Path(folder) / _STORE_NAME)
        as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
        return run(
            [
                *("unshare", *as_root, "--mount", "--pid", "--fork", "--mount-proc"),
                *("sh", "-c", _IN_PLACE, "sh", folder),
                *(
                    "image",
                    "inspect",
                    name,
                    "--verify-image=false",
                    "--pull=never",
                    "--auto-mount-filesystems",
                    *options,
                ),
            ],
            env={"IG_EXPERIMENTAL": "false"},
            hint="install ig and util-linux, or pass --engine ours",
        )


def differences(subject: Subject, infos: Mapping[str, ExtraInfo]) -> list[Difference]:
    """
    Return those of *infos* of which ig shows something else; the order of what ig shows at random does not
    count.

    Raises:
        ToolError: As of `ask`, or what it prints is not understood.
    """
    answer = _parsed(ask(subject, ["-o", "json"]))
    return [
        Difference(name, _comparable(name, info.content), _comparable(name, answer.get(name, "")))
        for name, info in infos.items()
        if _comparable(name, info.content) != _comparable(name, answer.get(name, ""))
    ]


def _parsed(text: str) -> dict[str, str]:
    try:
        return {name: entry["content"] for name, entry in json.loads(text).items()}
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise ToolError(["ig"], status=0, output=f"not the JSON that ig prints: {error}") from error


def _comparable(name: str, content: str) -> str:
    if name not in _UNORDERED:
        return content
    try:
        value: Any = json.loads(content) or []
    except ValueError:
        return content
    return "\n".join(sorted(json.dumps(each, sort_keys=True, ensure_ascii=False) for each in value))


def _store(subject: Subject, path: Path) -> str:
    """Make a store of ig's with *subject* alone, for this machine's architecture; return its name."""
    layout = Layout.open(path, create=True)
    if subject.elf is not None:
        layout.add_blob(subject.elf, MEDIA_TYPE_OBJECT)
    if subject.wasm is not None:
        layout.add_blob(subject.wasm, MEDIA_TYPE_WASM)
    manifest = _manifest(subject, layout).to_bytes()
    described = layout.add_blob(manifest, MEDIA_TYPE_MANIFEST)
    index = Index(manifests=(replace(described, platform=Platform(host_architecture())),))
    name = _OBJECT_NAME if subject.picture is None else _name(subject.picture)
    layout.publish({_stored_name(name): layout.add_blob(index.to_bytes(), MEDIA_TYPE_INDEX)})
    return name


def _manifest(subject: Subject, layout: Layout) -> Manifest:
    if subject.picture is not None:
        layout.add_blob(subject.picture.metadata, subject.picture.manifest.config.media_type)
        return subject.picture.manifest
    layers = () if subject.elf is None else (Descriptor.of(subject.elf, MEDIA_TYPE_OBJECT),)
    config = replace(layout.add_blob(EMPTY_JSON, MEDIA_TYPE_EMPTY), data=EMPTY_JSON)
    return Manifest(config=config, layers=layers, artifact_type=ARTIFACT_TYPE)


def _name(picture: Picture) -> str:
    """Return the name as it was typed, for ig shows parts of it; the digest would lead to another index."""
    return picture.name.partition("@")[0]


def _stored_name(name: str) -> str:
    return str(replace(Reference.parse(name), digest=None))
