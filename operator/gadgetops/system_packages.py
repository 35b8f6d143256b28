"""Which package of the distribution has what is missing, and the command that installs it."""

import functools
import platform
from typing import Final

from gadgetops.errors import MissingLibrary

_INSTALLERS: Final = {
    "debian": "apt-get install",
    "fedora": "dnf install",
    "arch": "pacman -S",
    "alpine": "apk add",
}
"""Family of distributions -> its way to install a package."""

_PACKAGES: Final = {
    "libbpf.so.1": {"debian": "libbpf1", "fedora": "libbpf", "arch": "libbpf", "alpine": "libbpf"},
    "libdw.so.1": {"debian": "libdw1", "fedora": "elfutils-libs", "arch": "libelf", "alpine": "elfutils"},
    "clang": {
        "debian": "clang llvm libbpf-dev",
        "fedora": "clang llvm libbpf-devel",
        "arch": "clang llvm libbpf",
        "alpine": "clang llvm libbpf-dev",
    },
}
"""What may be missing -> its packages in each family."""

_NAMES: Final = {"debian": "Debian", "fedora": "Fedora", "arch": "Arch", "alpine": "Alpine"}


def how_to_install(what: str) -> str:
    """
    Return the command that installs *what* here; that of every known family where this one is unknown.

    Args:
        what: A library or tool, such as `libbpf.so.1` or `clang`.
    """
    packages, family = _PACKAGES[what], _family()
    if family is not None:
        return f"{_INSTALLERS[family]} {packages[family]}"
    ways = [f"{_INSTALLERS[each]} {packages[each]} ({_NAMES[each]})" for each in _INSTALLERS]
    return ", ".join(ways)


def missing_library(library: str, *, otherwise: str = "") -> MissingLibrary:
    """Return the error for *library*, which the loader does not find, and what may be done *otherwise*."""
    return MissingLibrary(library, hint=how_to_install(library) + (f", or {otherwise}" if otherwise else ""))


def debug_package(package: str) -> str | None:
    """Return the command that installs the debug files of a file's *package*; None where it is unknown."""
    family = _family()
    return {"debian": f"apt-get install {package}-dbgsym", "fedora": f"dnf debuginfo-install {package}"}.get(
        family or ""
    )


@functools.cache
def _family() -> str | None:
    """Return the family of this machine's distribution; None where it is none that is known."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return None
    names = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    return next((name for name in names if name in _INSTALLERS), None)
