"""What the tests of real programs share."""

from pathlib import Path

import pytest
from services.gadget_build import build_gadget


@pytest.fixture(scope="session")
def gadget_object(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gadget, compiled once from this folder, or by who runs the tests."""
    return build_gadget(tmp_path_factory.mktemp("gadget"))
