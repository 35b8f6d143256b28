"""Numbers as people write and read them: bytes, counts, durations."""

import re

from gadgetops.errors import UsageError

_BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(ns|us|µs|ms|s|min|h|d)?")
_UNIT_NS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9}
_UNIT_NS |= {"h": 3600 * 10**9, "d": 86_400 * 10**9}
_COUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([kMG]?)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


def format_bytes(size_bytes: int) -> str:
    """Return *size_bytes* with a binary unit and three digits, exact below 1 KiB: `"1.50 MiB"`."""
    if abs(size_bytes) < 1024:
        return f"{size_bytes} B"
    value, unit = float(size_bytes), 0
    while abs(value) >= 1023.5 and unit < len(_BYTE_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{digits}f} {_BYTE_UNITS[unit]}"


def parse_bytes(text: str) -> int:
    """
    Return the number of bytes that *text* says, units binary: `"64"`, `"4k"`, `"1.5 MiB"`.

    Raises:
        UsageError: It says none.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"not a size: {text!r}", hint="write bytes or a unit, such as 4096, 64k or 1.5MiB")
    exponent = " KMGT".index(match[2].upper() or " ")
    return int(float(match[1]) * 1024**exponent)


def parse_duration(text: str) -> int:
    """
    Return the nanoseconds that *text* says, seconds without a unit: `"10"`, `"1.5s"`, `"2min"`, `"1h30min"`.

    Raises:
        UsageError: It says none.
    """
    parts = _DURATION_PART.findall(text)
    has_units = len(parts) == 1 or all(unit for _, unit in parts)
    if not parts or not has_units or _DURATION_PART.sub("", text).strip():
        raise UsageError(
            f"not a time: {text!r}", hint="write seconds or a unit, such as 10, 250ms, 1.5s, 2min or 1h30min"
        )
    from decimal import Decimal  # noqa: PLC0415 - takes longer than most verbs need it

    return round(sum(Decimal(number) * _UNIT_NS[unit or "s"] for number, unit in parts))


def parse_count(text: str) -> int:
    """
    Return the number that *text* says: `"1000"`, `"10_000"`, `"1,000,000"`, `"10k"`, `"1.5M"`.

    Raises:
        UsageError: It says none.
    """
    match = _COUNT.fullmatch(text.strip().replace("_", "").replace(",", ""))
    if match is None:
        raise UsageError(f"not a number: {text!r}", hint="write a count, such as 1000, 10_000, 10k or 1.5M")
    number = float(match[1]) * 1000 ** " kMG".index(match[2] or " ")
    if not number.is_integer():
        raise UsageError(f"not a whole number: {text!r}")
    return int(number)


def format_count(count: int) -> str:
    """Return *count* with thousands separated: `"1,050,005"`."""
    return f"{count:,}"


def format_duration(duration_ns: int) -> str:
    """Return *duration_ns* in the largest unit that keeps it at 1 or more, three digits: `"1.50 s"`."""
    value = float(duration_ns)
    for unit, factor in (("ns", 1e3), ("µs", 1e3), ("ms", 1e3), ("s", 60.0), ("min", 60.0)):
        # What three digits would round up to the next unit is shown in that one.
        if abs(value) < min(factor, 999.5):
            return f"{value:.3g} {unit}"
        value /= factor
    return f"{value:.3g} h"


def plural(count: int, noun: str, many: str | None = None) -> str:
    """Return *count* and *noun*, in the plural (*many*) unless one: `"1 event"`, `"2,000 events"`."""
    return f"{format_count(count)} {noun if count == 1 else many or f'{noun}s'}"
