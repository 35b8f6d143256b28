"""The API for Python: `gadgetops.open`, `gadgetops.record`, and what they return (docs/python.md)."""

from gadgetops.api.recorder import record
from gadgetops.api.recording import Recording, open_recording
from gadgetops.api.table import Table
from gadgetops.errors import GadgetOpsError
from gadgetops.questions.asking.filters import Filters

__all__ = ["Filters", "GadgetOpsError", "Recording", "Table", "open_recording", "record"]
