"""The gadget that virtual machines load."""

from pathlib import Path

import pytest
from services.gadget_build import build_gadget


@pytest.fixture(scope="session")
def gadget_object(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gadget, compiled once from this folder."""
    return build_gadget(tmp_path_factory.mktemp("gadget"))
