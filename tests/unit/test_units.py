"""Numbers read as people write them."""

import pytest

from gadgetops.errors import UsageError
from gadgetops.units import format_bytes, format_duration, parse_bytes, parse_duration, plural


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.50 KiB"), (10 * 1024, "10.0 KiB"), (1024**2 - 1, "1.00 MiB"),
     (150 * 1024**2, "150 MiB"), (-2048, "-2.00 KiB")],
)  # fmt: skip
def test_bytes_are_shown_with_three_digits(size_bytes: int, text: str) -> None:
    assert format_bytes(size_bytes) == text


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("64", 64), ("4k", 4096), ("1.5 MiB", 1572864), ("2GB", 2 << 30)]
)
def test_sizes_are_read_with_binary_units(text: str, size_bytes: int) -> None:
    assert parse_bytes(text) == size_bytes


@pytest.mark.parametrize("text", ["", "k", "-1", "1x", "1 2"])
def test_what_is_no_size_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="not a size"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (12, "12 ns"),
        (1500, "1.5 µs"),
        (1_500_000_000, "1.5 s"),
        (90 * 10**9, "1.5 min"),
        (999_999_000, "1 s"),
    ],
)
def test_durations_choose_their_unit(duration_ns: int, text: str) -> None:
    assert format_duration(duration_ns) == text


def test_a_noun_is_counted() -> None:
    assert plural(1, "event") == "1 event"
    assert plural(2000, "event") == "2,000 events"


@pytest.mark.parametrize(
    ("text", "duration_ns"),
    [("10", 10**10), ("1.5s", 1_500_000_000), ("250ms", 250_000_000), ("2 min", 120 * 10**9), (".5us", 500)],
)
def test_times_are_seconds_or_have_a_unit(text: str, duration_ns: int) -> None:
    assert parse_duration(text) == duration_ns


@pytest.mark.parametrize("text", ["", "s", "-1", "1x", "1 2", "1m", "."])
def test_what_is_no_time_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="not a time"):
        parse_duration(text)
