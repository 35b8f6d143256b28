"""What is traced: programs and processes."""

import pytest

from gadgetops.errors import UsageError
from gadgetops.trace import target


def test_a_missing_program_says_so() -> None:
    with pytest.raises(UsageError, match="no-such-program: no such program"):
        target.find_program("no-such-program")
