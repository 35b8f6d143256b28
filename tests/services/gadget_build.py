"""The gadget of this folder, compiled for this machine."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
OBJECT_OF_MACHINE = {"x86_64": "amd64.bpf.o", "aarch64": "arm64.bpf.o"}


def build_gadget(folder: Path) -> Path:
    """Return the object, made in *folder*; or the one that whoever runs the tests names."""
    if given := os.environ.get("GADGETOPS_TEST_OBJECT"):
        return Path(given)
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), "HOME": str(folder)}
    arguments = ["build", str(ROOT), "-o", str(folder / "out")]
    subprocess.run([sys.executable, "-m", "gadgetops", *arguments], check=True, env=environment)
    return folder / "out" / OBJECT_OF_MACHINE[os.uname().machine]
