"""What was seen of a stack's course, in words: how much it grew, and since when nothing came."""

from gadgetops.questions.leaks.activity import Activity
from gadgetops.questions.leaks.course import Course
from gadgetops.units import format_bytes, format_duration


def _half(course: Course, activity: Activity) -> tuple[int, int, int]:
    """Return the live bytes in the middle of the wall clock's time and at the end, and how long that is."""
    middle_ns = (activity.first_ns + activity.end_ns) // 2
    end = sum(course.changes.values())
    later = sum(
        change for cell, change in course.changes.items() if activity.cells[cell].first_ns > middle_ns
    )
    return end - later, end, max(1, activity.end_ns - middle_ns)


def rate(course: Course, activity: Activity) -> int:
    """Return by how many bytes a second it grew over the last half of the wall clock's time."""
    before, after, duration_ns = _half(course, activity)
    return (after - before) * 1_000_000_000 // duration_ns


def grown(course: Course, activity: Activity) -> str:
    """Say what is left, and how it came about."""
    before, after, duration_ns = _half(course, activity)
    if 0 < before < after:
        return f"from {format_bytes(before)} to {format_bytes(after)} in {format_duration(duration_ns)}"
    return f"grew to {format_bytes(max(after, course.live_bytes))}"


def silence(course: Course, activity: Activity) -> str:
    """Say for how long nothing came."""
    return f"nothing for the last {format_duration(max(0, activity.end_ns - course.last_ns))}"


def since(course: Course, activity: Activity) -> str:
    """Say that nothing came lately, if that is worth saying."""
    silence_ns = activity.end_ns - course.last_ns
    is_long = silence_ns * 10 > activity.end_ns - activity.first_ns
    return f", {silence(course, activity)}" if is_long else ""
