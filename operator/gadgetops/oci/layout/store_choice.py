"""How users say which store they mean; apart from the store, for verbs that may need none."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

AUTO: Final = "auto"
STORE_VARIABLE: Final = "GADGETOPS_STORE"


@dataclass
class Listener:
    """Whoever wants to know which store was chosen; called once, when a choice is made for the first time."""

    on_choice: Callable[[Path], None] = lambda _path: None


listener: Final = Listener()
