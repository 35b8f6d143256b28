"""
An arm64 machine: its user land, made of Debian's packages and of wheels, and tests that run in it.

Packages are unpacked into a folder, without their scripts: what tests need works without. The folder stays in
the user's cache folder; remove it to have newer packages.
"""

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from vm.architectures import ARM64
from vm.guest_tests import PATIENCE, ROOT, Results, how_it_ended, results_of
from vm.kernels import CACHE, Apt, Kernel, only_one
from vm.machine import SHARE, boot

# fmt: off
PACKAGES = (
    "bash", "binutils", "busybox-static", "coreutils", "diffutils", "findutils", "g++", "gawk", "gcc", "gdb",
    "grep", "iproute2", "libbpf1", "libc-bin", "libc6-dev", "libdw1", "mount", "perl-base", "procps",
    "python3", "python3-minimal", "sed", "util-linux",
)
# fmt: on
LINKS = {"sh": "bash", "awk": "gawk", "cc": "gcc"}
"""What the packages' scripts would have made, below /usr/bin."""
FOLDERS = ("dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp", "var/tmp")
MERGED = ("bin", "lib", "sbin")
PYTHON = "3.11"
WHEELS = "usr/local/lib/python3.11/dist-packages"
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
NOT_THERE = {"atheris", "pyspark", "pywin32", "mypy", "ruff"}
"""Requirements that have no wheel for arm64, or that check sources only."""
PROJECT = ("operator", "tests", "requirements", "pyproject.toml")


def arm64_root(kernel: Kernel) -> Path:
    """
    Return the folder with the user land of *kernel*'s suite, which is made if it is not there.

    Raises:
        Unavailable: A package cannot be had.
    """
    root = CACHE / f"{kernel.suite}-root-{ARM64.debian}"
    with only_one(root):
        if not root.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as work:
                _make_root(Path(work), kernel)
                (Path(work) / "root").rename(root)
    return root


def run_arm64_tests(
    kernel: Kernel, selection: Sequence[str], *, gadget: Path, share: Path, timeout_s: float
) -> Results:
    """Run pytest on arm64 and return what it found; arguments and errors are those of `run_tests`."""
    (share / gadget.name).write_bytes(gadget.read_bytes())
    for name in PROJECT:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (share / "project").mkdir(exist_ok=True)
        copy(ROOT / name, share / "project" / name)
    outcome = boot(
        kernel,
        _script(selection, gadget.name),
        share=share,
        timeout_s=timeout_s,
        architecture=ARM64,
        root=arm64_root(kernel),
    )
    report = share / "junit.xml"
    assert report.exists(), how_it_ended(outcome)
    return results_of(report)


def _script(selection: Sequence[str], gadget: str) -> str:
    settings = {
        "HOME": "/tmp/home",
        "PATH": "/usr/local/bin:/usr/bin:/usr/sbin",
        "PYTHONPATH": "/tmp/project/operator",
        "GADGETOPS_TEST_OBJECT": f"{SHARE}/{gadget}",
        "GADGETOPS_TEST_PATIENCE": str(PATIENCE),
    }
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in settings.items())
    line = ["python3", "-m", "pytest", "-v", "-p", "no:cacheprovider", "--durations=20"]
    line += [f"--junitxml={SHARE}/junit.xml", *selection]
    return (
        f"{exports}\nmkdir -p $HOME\ncp -r {SHARE}/project /tmp/project\ncd /tmp/project\n"
        f"{shlex.join(line)} >{SHARE}/log 2>&1"
    )


def _make_root(work: Path, kernel: Kernel) -> None:
    root = work / "root"
    for name in FOLDERS:
        (root / name).mkdir(parents=True)
    for name in MERGED:
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for package in Apt(work / "apt", kernel.suite, ARM64).download_with_dependencies(PACKAGES):
        _unpack(package, root)
    for name, target in LINKS.items():
        (root / "usr/bin" / name).unlink(missing_ok=True)
        (root / "usr/bin" / name).symlink_to(target)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
    (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    _install_wheels(work / "wheels", root / WHEELS)


def _unpack(package: Path, root: Path) -> None:
    """Unpack a package; what it has in /bin and the like goes where these links lead."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as files:
        subprocess.run(["tar", "-x", "--keep-directory-symlink", "-C", root], stdin=files.stdout, check=True)


def _install_wheels(downloaded: Path, folder: Path) -> None:
    """Download what the project's lock file names, by its hashes, and unpack it."""
    blocks = re.split(r"\n(?=\w)", (ROOT / "requirements/dev.txt").read_text())
    downloaded.mkdir()
    requirements = downloaded / "requirements.txt"
    requirements.write_text("\n".join(b for b in blocks if b.partition("==")[0] not in NOT_THERE))
    line = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "-r",
        requirements,
    ]
    line += ["--python-version", PYTHON, "--only-binary=:all:", "-d", downloaded]
    line += [f"--platform={name}" for name in PLATFORMS]
    subprocess.run(line, check=True)
    for wheel in downloaded.glob("*.whl"):
        shutil.unpack_archive(wheel, folder, "zip")
