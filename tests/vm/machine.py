"""
A virtual machine: a kernel of Debian's under qemu, with a folder as its root file system, for one script.

By default the folder is this machine's own root, so that the guest has all its tools, the project and its
`.venv`. It is shared read-only; what the guest writes goes to file systems in its memory. `/mnt/share` alone
is a folder of both. Everything is emulated (TCG), since test machines are often virtual themselves.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO

from vm.architectures import AMD64, Architecture
from vm.kernels import CACHE, Kernel, KernelFiles, Unavailable, kernel_files

INIT = Path(__file__).with_name("init.sh")
HIDDEN = ("/tmp", "/var/tmp", "/run", "/mnt", "/dev")
SHARE = "/mnt/share"
"""Where the guest has the shared folder."""
MEMORY_MIB = 3072
N_CPUS = 2


@dataclass(frozen=True)
class Outcome:
    """
    How a script ended.

    Attributes:
        status: Its exit status; None if the machine ended first, or was stopped for want of time.
        console: What the kernel and the script printed.
        share: The shared folder.
    """

    status: int | None
    console: str
    share: Path


def boot(
    kernel: Kernel,
    script: str,
    *,
    share: Path,
    timeout_s: float,
    architecture: Architecture = AMD64,
    root: Path = Path("/"),
    keep: Sequence[Path] = (),
    in_memory: Mapping[Path, Sequence[Path]] = MappingProxyType({}),
    parameters: str = "",
) -> Outcome:
    """
    Run a script in a virtual machine, as root, and return how it ended.

    Args:
        kernel: What it runs.
        script: For /bin/sh.
        share: A folder, `/mnt/share` in the guest.
        timeout_s: The machine is stopped after so long.
        architecture: Of the machine.
        root: Its root file system, with a `/bin/busybox` that is static.
        keep: Folders of *root* to show even below `/tmp` and the like, which are the guest's own.
        in_memory: Folders of *root* to copy into the guest's memory, with the files in them: to open a
            file over 9p takes milliseconds, and a Python program opens hundreds.
        parameters: Further ones of the kernel's command line.

    Raises:
        Unavailable: Kernel, qemu or busybox cannot be had.
    """
    files = kernel_files(kernel, architecture)
    (share / "script").write_text(script)
    with _alone(), tempfile.TemporaryDirectory() as work:
        initramfs = _initramfs(
            Path(work), files, root, [path for some in in_memory.values() for path in some]
        )
        console = share / "console"
        words = f"console={architecture.console} quiet panic=-1 KEEP={':'.join(_hidden(keep))} {parameters}"
        words += f" COPIED={':'.join(map(str, in_memory))}"
        line = [*architecture.qemu, "-m", str(MEMORY_MIB), "-smp", str(N_CPUS)]
        line += ["-nodefaults", "-no-reboot", "-display", "none", "-serial", f"file:{console}"]
        line += ["-kernel", str(files.image), "-initrd", str(initramfs), "-append", words]
        line += _shared("root", root, read_only=True) + _shared("share", share)
        _run(line, timeout_s)
    status = share / "status"
    text = console.read_text(errors="replace") if console.exists() else ""
    return Outcome(int(status.read_text()) if status.exists() else None, text, share)


def _run(line: Sequence[str], timeout_s: float) -> None:
    if shutil.which(line[0]) is None:
        raise Unavailable(f"no {line[0]} on PATH")
    # As a process of `timeout`, it ends in time even if this one is killed.
    subprocess.run(["timeout", "-s", "KILL", str(timeout_s), *line], check=False, stdin=subprocess.DEVNULL)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Boot one machine at a time, whoever boots it: two would take twice the memory and save no time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "boot.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _shared(tag: str, folder: Path, *, read_only: bool = False) -> list[str]:
    options = f"local,path={folder},mount_tag={tag},security_model=none,multidevs=remap"
    return ["-virtfs", options + (",readonly=on" if read_only else "")]


def _hidden(folders: Sequence[Path]) -> Iterator[str]:
    """Yield those of *folders* that lie where the guest has file systems of its own."""
    return (str(folder) for folder in folders if str(folder).startswith(tuple(f"{h}/" for h in HIDDEN)))


def _initramfs(work: Path, files: KernelFiles, root: Path, copied: Sequence[Path]) -> Path:
    """Return the first file system: busybox, modules, `init.sh`, and files of *root* below `/copied`."""
    busybox = root / "bin/busybox"
    if not busybox.exists():
        raise Unavailable(f"no {busybox}: it comes with Debian's busybox-static")
    tree = work / "tree"
    for name in ("bin", "modules", "proc", "sys", "dev", "host", "root", "copied"):
        (tree / name).mkdir(parents=True)
    shutil.copy(busybox, tree / "bin")
    shutil.copy(INIT, tree / "init")
    (tree / "init").chmod(0o755)
    for module in files.modules:
        shutil.copy(module, tree / "modules")
    archive = work / "initramfs"
    with archive.open("wb") as stream:
        _archive(tree, sorted(path.relative_to(tree) for path in tree.rglob("*")), stream)
        # The kernel takes one archive after another. Names lead through this link, which is in none of them.
        (work / "copied").symlink_to(root)
        inside = [Path("copied") / path.relative_to(root) for path in copied]
        folders = {parent for path in inside for parent in [*path.parents][:-2]}
        _archive(work, sorted({*folders, *inside}), stream)
    return archive


def _archive(folder: Path, names: Iterable[Path], stream: IO[bytes]) -> None:
    """Append *names*, folders before what is in them, as an archive."""
    line = ["cpio", "--quiet", "-0", "-o", "-H", "newc"]
    text = b"".join(os.fsencode(name) + b"\0" for name in names)
    subprocess.run(line, cwd=folder, input=text, stdout=stream, check=True)
