"""
One definition of what an event is: what the gadget's tests demand of its events, the library's satisfy.

The classes are those of tests/kernel/test_gadget.py, with this folder's recordings.
"""

import pytest
from kernel import test_gadget as gadget


class TestNestedCalls(gadget.TestNestedCalls):
    """One call of the program is one allocation, whatever the C library calls inside it."""


class TestFailures(gadget.TestFailures):
    """A call that failed is an event with address 0; a call that does nothing is none."""


class TestVolume(gadget.TestVolume):
    """Fewer events that still tell the truth."""


test_munmap_says_how_much = gadget.test_munmap_says_how_much
test_time_is_boot_time = gadget.test_time_is_boot_time
test_process_and_thread_are_those_that_called = gadget.test_process_and_thread_are_those_that_called
test_resident_memory_is_measured = gadget.test_resident_memory_is_measured


@pytest.mark.parametrize(
    ("workload", "compiler"),
    [("nested", "clang"), ("failures", "musl-gcc"), ("mappings", "musl-gcc"), ("mixture", "musl-gcc")],
)
def test_every_compiler_and_c_library(record, workload, compiler):
    """One file serves glibc and musl."""
    recording = record(workload, compiler=compiler)
    assert gadget._as_told_apart(recording.known_calls) == gadget._as_told_apart(recording.calls)


class TestOwnCalls:
    """What a C library or an allocator maps and releases for itself is no event."""

    @pytest.mark.parametrize(
        ("compiler", "preload"),
        [
            pytest.param("gcc", "", id="glibc"),
            pytest.param("musl-gcc", "", id="musl"),
            *(pytest.param("gcc", name, id=name) for name in gadget.ALLOCATORS),
        ],
    )
    def test_only_the_programs_calls_are_events(self, record, compiler, preload):
        """Not even of the main thread is there a mapping besides; the program's own allocator stays."""
        gadget.TestOwnCalls.test_only_the_programs_calls_are_events(self, record, compiler, preload)
