"""Pictures of characters keep the order and the extent of what they show."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gadgetops.report.drawing import Drawing, resampled, stretched

DEMO = Path(__file__).parents[2] / "data" / "demo.gadgetrec"
BLOCKS, ASCII = Drawing(), Drawing(is_ascii=True)
VALUES = st.lists(st.integers(-5, 10**12), max_size=200)
DRAWINGS = st.sampled_from([BLOCKS, ASCII])


@given(VALUES, st.integers(1, 60), DRAWINGS)
def test_a_sparkline_is_as_wide_as_asked(values: list[int], width: int, drawing: Drawing) -> None:
    """At most; and what is above 0 is seen."""
    line = drawing.sparkline(values, width)
    shown = resampled(values, width)
    assert len(line) == len(shown) <= width
    assert [character != " " for character in line] == [value > 0 for value in shown]


@given(VALUES, st.integers(1, 60), st.integers(1, 10), DRAWINGS)
def test_an_area_fits(values: list[int], width: int, height: int, drawing: Drawing) -> None:
    """And reaches the top where anything is above 0."""
    lines = drawing.area(values, width, height)
    assert len(lines) == height
    assert all(len(line) <= width for line in lines)
    assert bool(lines[0].strip()) == (max(values, default=0) > 0)


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.integers(1, 80), DRAWINGS)
def test_a_bar_is_no_longer_than_its_room(value: int, highest: int, width: int, drawing: Drawing) -> None:
    """Empty for nothing alone."""
    bar = drawing.bar(value, highest, width)
    assert len(bar) <= width
    assert bool(bar) == (value > 0)


@given(VALUES, st.integers(1, 60), st.integers(1, 10))
def test_ascii_is_ascii(values: list[int], width: int, height: int) -> None:
    lines = [ASCII.sparkline(values, width), *ASCII.area(values, width, height), ASCII.bar(3, 7, width)]
    assert all(line.isascii() for line in lines)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (BLOCKS.sparkline([0, 1, 4, 8], 8), " ▁▄█"),
        (ASCII.sparkline([0, 1, 4, 8], 8), " .=@"),
        (BLOCKS.bar(3, 8, 1), "▍"),
        (BLOCKS.bar(8, 8, 2), "██"),
        (ASCII.bar(1, 2, 10), "#####"),
        (BLOCKS.area([1, 2, 3, 4], 2, 1), ["⣠⣾"]),
        (ASCII.area([1, 2], 2, 2), [" #", "##"]),
    ],
)
def test_pictures(picture: object, expected: object) -> None:
    """As they look."""
    assert picture == expected


def test_more_values_than_room_keep_the_highest() -> None:
    """Of a curve; of a sparkline the last."""
    assert stretched([1, 9, 2, 3], 2) == [9, 3]
    assert stretched([1, 2], 4) == [1, 1, 2, 2]
    assert resampled([1, 9, 2, 3], 2) == [9, 3]


def test_leaks_draw_the_course_of_each_stack(gadgetops: Callable[..., Any]) -> None:
    """Where it is asked for, or there is a terminal; also from the answer that is kept."""
    for _ in range(2):
        lines = gadgetops("leaks", DEMO, "--ascii").out.splitlines()
        courses = [
            lines[number - 1] for number, line in enumerate(lines) if line.startswith("  likely a leak")
        ]
        assert len(courses) == 2
        assert all(course.isascii() and course.endswith("@") for course in courses)
        assert all(len(course) == 2 + 24 for course in courses)
    assert "@" not in gadgetops("leaks", DEMO).out
