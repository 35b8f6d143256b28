"""
Build, inspect and ship Inspektor Gadget images; record allocations and say what leaks.

The image side (`oci`, `bpf`, `gadget`, `docs`) turns source into an image and an image into diagrams. The
event side (`trace`, `recording`, `analysis`, `report`) turns a running process into a recording and a
recording into answers. They meet only in `commands`.
"""

from typing import Final

__version__: Final = "0.1.0"
