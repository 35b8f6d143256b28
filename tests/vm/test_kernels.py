"""
The event side on other kernels than this machine's: what tests/kernel proves here holds there, too.

`make test` boots two old ones with a few tests, `make test-vm` all of them with most.
"""

from pathlib import Path

import pytest
from vm.arm64 import run_arm64_tests
from vm.guest_tests import expect_no_failure, expect_passes
from vm.kernels import KERNELS, Unavailable

pytestmark = [pytest.mark.vm, pytest.mark.clang]

QUICK = [
    "tests/kernel/test_features.py",
    "tests/kernel/test_doctor.py::test_where_it_says_so_record_works_in_the_way_that_it_says",
    "tests/kernel/test_record.py::test_children_and_what_they_exec_are_recorded_and_the_status_is_passed_on",
    "tests/kernel/test_attach.py::test_all_threads_of_a_process_are_seen_and_no_other_process",
]
"""What a kernel is most likely to break, in three minutes of emulation."""
BREADTH: dict[str, tuple[str, ...]] = {
    "features": (),
    "leaks": ("leaks_are_what_no_process_released", "a_release_of_what_was_inherited_is_no_fault"),
    "record": (
        "children_and_what_they_exec_are_recorded_and_the_status_is_passed_on",
        "leaks_names_function_and_line_of_processes_that_are_gone",
        "a_running_process_is_recorded_until_it_ends",
    ),
    "attach": (
        "a_probe_of_a_process_changes_its_memory_alone",
        "all_threads_of_a_process_are_seen_and_no_other_process",
        "several_places_take_one_program",
        "what_was_chosen_and_why_is_in_the_recording",
        "other_mount_namespaces_give_no_event_and_leave_nothing_behind",
    ),
    "modules": ("files_of_a_process_are_had_though_it_and_its_mounts_are_gone",),
    "targets": (
        "several_processes_are_recorded_and_no_other",
        "files_that_only_the_process_sees_are_found_without_those_of_its_mappings",
    ),
    "symbols": ("every_call_is_said_to_be_made_where_it_was_made[-O2 -fomit-frame-pointer]",),
    "unwinding": ("a_stack_is_walked_once_its_rules_are_known", "frame_pointers_can_be_asked_for"),
    "call_owner": (),
}
"""Each thing that a kernel does for us at least once: tests by file, no names for all of a file's."""
OTHERS = [
    "tests/kernel/test_gadget.py::TestOwnCalls::test_only_the_programs_calls_are_events[glibc]",
    "tests/kernel/test_mistakes.py::test_planted_mistakes_are_found",
]
"""What is no event of the program, and what is a mistake of it."""
MOST = [
    f"tests/kernel/test_{file}.py{test}"
    for file, names in BREADTH.items()
    for test in ([f"::test_{name}" for name in names] or [""])
]
MOST += OTHERS
"""In about six minutes of emulation."""


ON_ARM64 = [
    "tests/kernel/test_features.py",
    "tests/kernel/test_record.py",
    "tests/kernel/test_gadget.py::TestNestedCalls",
    "tests/kernel/test_gadget.py::TestFailures",
    "tests/kernel/test_attach.py::test_all_threads_of_a_process_are_seen_and_no_other_process",
    "tests/kernel/test_unwinding.py::test_stacks_are_those_that_gdb_sees",
    *OTHERS,
]


@pytest.mark.parametrize("name", ["5.10", "6.1"])
def test_an_old_kernel_records(name: str, gadget_object: Path, tmp_path: Path) -> None:
    expect_no_failure(KERNELS[name], QUICK, gadget=gadget_object, share=tmp_path, timeout_s=600)


@pytest.mark.long
@pytest.mark.parametrize("name", KERNELS)
def test_each_kernel_does_what_this_one_does(name: str, gadget_object: Path, tmp_path: Path) -> None:
    expect_no_failure(KERNELS[name], MOST, gadget=gadget_object, share=tmp_path, timeout_s=3600)


@pytest.mark.long
def test_arm64_records(gadget_object: Path, tmp_path: Path) -> None:
    """Debian's kernel and user land; stacks by frame pointers and by rules, also where they are signed."""
    gadget = gadget_object.with_name("arm64.bpf.o")
    try:
        results = run_arm64_tests(KERNELS["6.1"], ON_ARM64, gadget=gadget, share=tmp_path, timeout_s=3600)
    except Unavailable as error:
        pytest.skip(f"arm64 cannot be had: {error}")
    expect_passes("6.1 on arm64", results, tmp_path)
