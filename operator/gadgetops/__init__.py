"""
Build, inspect and ship Inspektor Gadget images; record allocations and say what leaks.

    import gadgetops

    recording = gadgetops.open("app.gadgetrec")
    for leak in recording.leaks().leaks: ...

The image side (`oci`, `bpf`, `gadget`, `docs`) turns source into an image and an image into diagrams. The
event side (`trace`, `recording`, `pairing`, `questions`, `report`) turns a running process into a recording
and a recording into answers. They meet only in `commands`.
"""

from importlib import import_module
from typing import Any, Final

__version__: Final = "0.1.0"

_API: Final = {
    "open": "open_recording",
    "record": "record",
    "Recording": "Recording",
    "Table": "Table",
    "Filters": "Filters",
    "GadgetOpsError": "GadgetOpsError",
}
"""What the package offers by this name -> its name in `gadgetops.api`; `__init__.pyi` has the types."""


def __getattr__(name: str) -> Any:
    """Import what of the API is asked for: importing the package alone takes a millisecond."""
    if name not in _API:
        raise AttributeError(f"module 'gadgetops' has no attribute {name!r}")
    return getattr(import_module("gadgetops.api"), _API[name])


def __dir__() -> list[str]:
    """Return the names that the package offers."""
    return ["__version__", *_API]
