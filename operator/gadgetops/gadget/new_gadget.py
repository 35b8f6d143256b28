"""
A new gadget to start from: a folder that builds, inspects and passes `docs --check` as it is written.

The files of `template/` are copied with the gadget's name in them, beside the headers that this package's own
gadget is compiled with.
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gadgetops import __version__
from gadgetops.errors import UsageError
from gadgetops.products import product_folder

PRODUCT: Final = "headers"
"""Name of the build product with the headers."""
_SOURCES: Final = ("gadget/include/**/*", "gadget/LICENSE")
_TEMPLATE: Final = Path(__file__).parent / "template"
_NAME: Final = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_NAME_HINT: Final = "an image's name has small letters and digits, with single . _ or - between them"


def new_gadget(name: str) -> Mapping[Path, bytes]:
    """
    Return the files of a new gadget, by their paths in its folder.

    Args:
        name: Of the gadget, and so of its image.

    Raises:
        UsageError: No image can have that name.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name for a gadget", hint=_NAME_HINT)
    headers = product_folder(PRODUCT, _SOURCES, copy_headers)
    return {**_filled(_TEMPLATE, {"NAME": name, "VERSION": __version__}), **_placed(headers, Path("gadget"))}


def copy_headers(project: Path, folder: Path) -> None:
    """Fill *folder* with the headers of the gadget in *project*, and their licence."""
    shutil.copytree(project / "gadget/include", folder / "include")
    shutil.copyfile(project / "gadget/LICENSE", folder / "LICENSE")


def _filled(folder: Path, values: Mapping[str, str]) -> dict[Path, bytes]:
    files = {}
    for path, content in _placed(folder, Path()).items():
        for key, value in values.items():
            content = content.replace(f"@{key}@".encode(), value.encode())  # noqa: PLW2901 - one after the other
        files[path] = content
    return files


def _placed(folder: Path, place: Path) -> dict[Path, bytes]:
    """Return the files below *folder* as they are to lie below *place*."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {place / path.relative_to(folder): path.read_bytes() for path in paths}
