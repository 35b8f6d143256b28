"""
The images that belong to this package: the gadget of its own sources, ready to be used.

A wheel carries them as an OCI layout, byte for byte what `gadgetops build` makes of the same sources. In a
checkout they are built when they are first asked for.
"""

from pathlib import Path
from typing import Final

from gadgetops.oci.content import digest_of
from gadgetops.oci.image import Image
from gadgetops.oci.layout.layout import LOCK_FILE, Layout
from gadgetops.oci.reference import Reference
from gadgetops.products import existing_product, product_folder

PRODUCT: Final = "images"
"""Name of the build product."""

BUILD_FILES: Final = {"trace_malloc": "build.yaml", "trace_malloc_ustack": "build-ustack.yaml"}
"""Name of each image -> the build.yaml that it is made from."""

_SOURCES: Final = (
    "build*.yaml",
    "gadget/**/*",
    "operator/gadgetops/gadget/**/*.py",
    "operator/gadgetops/gadget/**/*.h",
)


def own_layout() -> Layout:
    """
    Return the layout that holds every image of `BUILD_FILES` under its name.

    Raises:
        ToolError: They have to be built, and there is no compiler.
        NotFound: The package was installed without them.
    """
    return Layout.open(product_folder(PRODUCT, _SOURCES, build_images))


def own_image(name: str) -> Image:
    """Return the image *name*; errors as of `own_layout`."""
    return Image.load(own_layout(), Reference.parse(name))


def is_own(reference: Reference | str) -> bool:
    """Return whether *reference* is the name of an image of this package."""
    return str(reference) in {str(Reference.parse(name)) for name in BUILD_FILES}


def existing_images() -> bool:
    """Return whether the images are there, and need not be built first."""
    return existing_product(PRODUCT, _SOURCES) is not None


def is_own_object(elf: bytes) -> bool | None:
    """Return whether *elf* is the object of an image of this package; None while these are not built."""
    folder = existing_product(PRODUCT, _SOURCES)
    if folder is None:
        return None
    layout, digest = Layout.open(folder), digest_of(elf)
    return layout.blob_path(digest).is_file()


def build_images(project: Path, folder: Path) -> None:
    """
    Build every image from the sources in *project* into a layout in *folder*; errors as of `gadget.build`.
    """
    # Imported here: who uses images that are there needs no compiler.
    from gadgetops.gadget.building.build import build  # noqa: PLC0415
    from gadgetops.gadget.building.buildfile import BuildFile  # noqa: PLC0415
    from gadgetops.gadget.building.toolchain import TARGETS  # noqa: PLC0415

    layout = Layout.open(folder, create=True)
    for name, build_file in BUILD_FILES.items():
        built = build(BuildFile.read(project, project / build_file), sorted(TARGETS))
        for descriptor, content in built.image.contents:
            layout.add(descriptor, [content])
        layout.publish({str(Reference.parse(name)): built.image.index})
    # Nobody writes there any more, and reading needs no lock.
    (folder / LOCK_FILE).unlink(missing_ok=True)
