"""What is traced: programs and processes."""

import pytest

from gadgetops.errors import UsageError
from gadgetops.trace.targets import launch


def test_a_missing_program_says_so() -> None:
    with pytest.raises(UsageError, match="no-such-program: no such program"):
        launch.find_program("no-such-program")
