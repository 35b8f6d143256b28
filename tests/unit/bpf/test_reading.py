"""Which version of ig reads in which way."""

import pytest

from gadgetops.bpf.reading import NEWEST, Reading
from gadgetops.errors import UsageError


@pytest.mark.parametrize(
    ("version", "reading"),
    [
        ("0.40", Reading.IG_0_48),
        ("0.48", Reading.IG_0_48),
        ("v0.50.1", Reading.IG_0_48),
        ("v0.51.0", Reading.IG_0_51),
        ("0.53.2", Reading.IG_0_51),
        ("0.54.0-rc1", Reading.IG_0_54),
        ("v0.55.1", Reading.IG_0_54),
        ("1.2", NEWEST),
        ("v0.55.1+dirty", NEWEST),
    ],
)
def test_versions_read_as_the_first_with_their_rules(version: str, reading: Reading) -> None:
    """Later ones than are known read as the newest."""
    assert Reading.of_ig(version) is reading


@pytest.mark.parametrize("text", ["", "main", "48", "0.x", "latest", "-1.0"])
def test_other_words_are_not_versions(text: str) -> None:
    """The error says how to write one."""
    with pytest.raises(UsageError, match=f"{text!r} is not a version of ig"):
        Reading.of_ig(text)
