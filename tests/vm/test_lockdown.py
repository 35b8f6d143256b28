"""A kernel that is locked down: what it forbids is said, what it allows is recorded."""

import shlex
import sys
from pathlib import Path

import pytest
from vm.guest_tests import ROOT, python_files
from vm.kernels import KERNELS, Unavailable
from vm.machine import SHARE, Outcome, boot

pytestmark = [pytest.mark.vm, pytest.mark.long, pytest.mark.clang]
TIMEOUT_S = 900


def record(mode: str, gadget_object: Path, share: Path) -> Outcome:
    """Record a command under a kernel in this mode; its output is in the shared folder."""
    (share / "gadget.o").write_bytes(gadget_object.read_bytes())
    line = [sys.executable, "-m", "gadgetops", "record", "--no-pairs", "--image", f"{SHARE}/gadget.o"]
    line += ["-o", "/tmp/r.gadgetrec", "--", "touch", "/tmp/ran"]
    script = (
        f"export HOME=/tmp PATH={shlex.quote(f'{sys.prefix}/bin:/usr/sbin:/usr/bin')}\n"
        f"cat /sys/kernel/security/lockdown >{SHARE}/mode\n"
        f"{shlex.join(line)} >{SHARE}/output 2>&1; status=$?\n"
        f"ls /tmp >{SHARE}/left; exit $status"
    )
    try:
        return boot(
            KERNELS["6.1"],
            script,
            share=share,
            timeout_s=TIMEOUT_S,
            keep=[ROOT, Path(sys.prefix)],
            in_memory=python_files(),
            parameters=f"lockdown={mode}",
        )
    except Unavailable as error:
        pytest.skip(f"Linux 6.1 cannot be had: {error}")


def test_confidentiality_is_said_and_nothing_is_started(gadget_object: Path, tmp_path: Path) -> None:
    """BPF programs may read no memory then: events would have no content."""
    done = record("confidentiality", gadget_object, tmp_path)
    assert "[confidentiality]" in (tmp_path / "mode").read_text(), done.console
    problem, hint = (tmp_path / "output").read_text().splitlines()
    assert done.status == 1
    assert "the kernel has no memory reads by BPF programs" in problem
    assert hint.startswith("boot without lockdown=confidentiality")
    left = (tmp_path / "left").read_text().split()
    assert not [name for name in left if name == "ran" or "gadgetops" in name or "gadgetrec" in name]


def test_integrity_does_no_harm(gadget_object: Path, tmp_path: Path) -> None:
    """As every machine with Secure Boot has it."""
    done = record("integrity", gadget_object, tmp_path)
    assert "[integrity]" in (tmp_path / "mode").read_text(), done.console
    assert done.status == 0, (tmp_path / "output").read_text()
    assert {"ran", "r.gadgetrec"} <= {*(tmp_path / "left").read_text().split()}
