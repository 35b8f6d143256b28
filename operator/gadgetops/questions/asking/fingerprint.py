"""
What a stack is called by in every recording of a program, however it was loaded, moved or compiled.

A frame counts with its function and the name of its module's file: neither addresses (they change with every
start) nor lines and files (with every edit). What compilers add to names is left out: GCC's and LLVM's
suffixes of cloned functions, the hash at the end of Rust's. A frame without a function counts with its module
and the offset into it, which holds for one build of that module only.
"""

import re
from collections.abc import Iterable
from typing import Final

DIGITS: Final = 16
"""Length of a fingerprint: of a million stacks two are equal by chance once in 30 million programs."""

_CLONE: Final = re.compile(r"(\.(part|isra|constprop|cold|lto_priv|llvm|localalias|clone)(\.\d+)?)+$")
_RUST_HASH: Final = re.compile(r"::h[0-9a-f]{16}$")


def frame_name(function: str | None, module: str | None, module_offset: int | None) -> str:
    """Return what one frame counts as: `function@module`, `module+0x…`, or `?` where nothing is known."""
    base = "" if module is None else module.rpartition("/")[2]
    if function is not None:
        return f"{_RUST_HASH.sub('', _CLONE.sub('', function))}@{base}"
    return "?" if module_offset is None else f"{base}+{module_offset:#x}"


def fingerprint(names: Iterable[str]) -> str:
    """Return the fingerprint of a stack whose frames have these names, leaf first: hexadecimal digits."""
    # Imported here: `leaks`, when asked again, has no use for it.
    from hashlib import sha256  # noqa: PLC0415

    return sha256("\n".join(names).encode("utf-8", "backslashreplace")).hexdigest()[:DIGITS]
