"""
Hatchling's hook: makes what a wheel carries besides modules.

To add a product, add a line to `PRODUCTS`: its name, and the function that fills a folder with it. The wheel
has it as `gadgetops/bundled/NAME`, where `gadgetops.products.product_folder` finds it. A source distribution
carries the products, too, so that a wheel made from it needs no compiler.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
PACKAGES = ROOT / "operator"


def make_images(project: Path, folder: Path) -> None:
    """Build the gadget's images for all architectures."""
    from gadgetops.gadget.reading.own_images import build_images

    build_images(project, folder)


def make_libraries(project: Path, folder: Path) -> None:
    """Compile the library that commands preload, for all architectures."""
    from gadgetops.trace.preload.library import make_libraries as make

    make(project, folder)


def make_headers(project: Path, folder: Path) -> None:
    """Copy the headers that a new gadget starts with."""
    from gadgetops.gadget.new_gadget import copy_headers

    copy_headers(project, folder)


def make_report(project: Path, folder: Path) -> None:
    """Bundle the program of the report's page; needs npm."""
    from gadgetops.report.page.bundle import make_bundle

    make_bundle(project, folder)


PRODUCTS: dict[str, Callable[[Path, Path], None]] = {
    "images": make_images,
    "preload": make_libraries,
    "report": make_report,
    "headers": make_headers,
}
"""Name of each product -> what makes it: called with the project's folder and a new folder to fill."""


class ProductsHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds `PRODUCTS` to wheels and source distributions; an editable installation makes them on demand."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the products and name them to hatchling."""
        if version == "editable" or (PACKAGES / "gadgetops/bundled").is_dir():
            return
        where = "gadgetops/bundled" if self.target_name == "wheel" else "operator/gadgetops/bundled"
        sys.path.insert(0, str(PACKAGES))
        self._scratch = tempfile.TemporaryDirectory(prefix="gadgetops-products-")
        for name, make in PRODUCTS.items():
            folder = Path(self._scratch.name) / name
            folder.mkdir()
            make(ROOT, folder)
            # Hatchling leaves out what .gitignore names, and folders that are empty.
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    build_data["force_include"][str(path)] = f"{where}/{name}/{path.relative_to(folder)}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what has been packed."""
        if hasattr(self, "_scratch"):
            self._scratch.cleanup()
