"""Objects to read: those of tests/data/objects."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gadgetops.bpf.object import Object

OBJECTS = Path(__file__).parents[2] / "data" / "objects"


@pytest.fixture(scope="session")
def objects() -> Path:
    """The folder with the objects and the C they are made from."""
    return OBJECTS


@pytest.fixture(scope="session")
def read_object() -> Callable[[str], Object]:
    """Read an object of tests/data/objects by name: `read_object("fields")`."""

    def read(name: str) -> Object:
        return Object.from_bytes((OBJECTS / f"{name}.bpf.o").read_bytes())

    return read
