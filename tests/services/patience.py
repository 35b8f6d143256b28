"""How long tests wait for what they started: longer where everything is slow."""

import os

PATIENCE = float(os.environ.get("GADGETOPS_TEST_PATIENCE", "1"))
"""By how much longer than on an idle machine: an emulated one needs ten times as long."""
