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
    "tests/kernel/test_record.py::test_children_and_what_they_exec_are_recorded_and_the_status_is_passed_on",
    "tests/kernel/test_attach.py::test_all_threads_of_a_process_are_seen_and_no_other_process",
]
"""What a kernel is most likely to break, in three minutes of emulation."""
MOST = [
    "tests/kernel/test_features.py",
    "tests/kernel/test_record.py",
    "tests/kernel/test_attach.py",
    "tests/kernel/test_gadget.py",
    "tests/kernel/test_leaks.py",
    "tests/kernel/test_modules.py",
    "tests/kernel/test_symbols.py",
    "tests/kernel/test_targets.py",
    "tests/kernel/test_unwinding.py::test_a_stack_is_walked_once_its_rules_are_known",
]
"""What does not measure, and needs no service."""


ON_ARM64 = [
    "tests/kernel/test_features.py",
    "tests/kernel/test_record.py",
    "tests/kernel/test_gadget.py::TestNestedCalls",
    "tests/kernel/test_gadget.py::TestFailures",
    "tests/kernel/test_attach.py::test_all_threads_of_a_process_are_seen_and_no_other_process",
    "tests/kernel/test_unwinding.py::test_stacks_are_those_that_gdb_sees",
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
