"""
How versions of `ig` read objects: versions of cilium/ebpf differ in functions, maps and names.

| `ig` | cilium/ebpf | difference |
| --- | --- | --- |
| 0.40 to 0.50 | up to 0.20 | a function ends where the next symbol stands, labels included |
| 0.51 to 0.53 | 0.21 | symbols have sizes; weak functions; maps in `.struct_ops.link` |
| 0.54 on | 0.22 | `may_goto` has a name |
"""

import re
from enum import IntEnum
from typing import Final

from gadgetops.errors import UsageError

_VERSION: Final = re.compile(r"v?(\d{1,4})\.(\d{1,4})(?:\.\d+)?(?:[-+.].*)?")


class Reading(IntEnum):
    """A way to read objects, named after the first `ig` that reads so; later ones compare greater."""

    IG_0_48 = 48
    """That of 0.48; the rules of 0.40 to 0.50 are the same for what is shown here."""
    IG_0_51 = 51
    IG_0_54 = 54

    @classmethod
    def of_ig(cls, version: str) -> "Reading":
        """
        Return how the ig of *version* (`"0.48"`, `"v0.55.1"`) reads; later ones read as the newest known.

        Raises:
            UsageError: *version* is not a version of ig.
        """
        found = _VERSION.fullmatch(version)
        if found is None:
            raise UsageError(f"{version!r} is not a version of ig", hint="write it as in 0.48 or v0.55.1")
        major, minor = map(int, found.groups())
        return max((each for each in cls if (major, minor) >= (0, each)), default=cls.IG_0_48)


NEWEST: Final = max(Reading)
