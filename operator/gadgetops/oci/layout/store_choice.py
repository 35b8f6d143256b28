"""How users say which store they mean; apart from the store, for verbs that may need none."""

from typing import Final

AUTO: Final = "auto"
STORE_VARIABLE: Final = "GADGETOPS_STORE"
