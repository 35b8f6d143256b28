# The types of what `__init__.py` imports when it is asked for.
from typing import Final

from gadgetops.api import Filters as Filters
from gadgetops.api import GadgetOpsError as GadgetOpsError
from gadgetops.api import Recording as Recording
from gadgetops.api import Table as Table
from gadgetops.api import open_recording as open  # noqa: A004 - gadgetops.open
from gadgetops.api import record as record

__version__: Final[str]
__all__ = ["Filters", "GadgetOpsError", "Recording", "Table", "open", "record"]
