"""`ig run` on a kernel that has what it needs: this machine's may lack kprobes."""

import shutil
from pathlib import Path

import pytest
from vm.guest_tests import expect_no_failure
from vm.kernels import KERNELS


@pytest.mark.vm
@pytest.mark.ig
def test_ig_run_records_what_our_engine_records(gadget_object: Path, tmp_path: Path) -> None:
    """With whichever ig is on PATH."""
    assert shutil.which("ig") is not None
    expect_no_failure(
        KERNELS["6.1"], ["tests/kernel/test_ig_run.py"], gadget=gadget_object, share=tmp_path, timeout_s=900
    )
