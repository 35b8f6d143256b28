"""
Debian's kernels: which ones tests run on, and how they are had.

A kernel is downloaded as a package, by name and from the machine's own mirror, and is unpacked, never
installed. What a virtual machine needs of it stays in the user's cache folder; remove it to have newer ones.
"""

import contextlib
import fcntl
import lzma
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vm.architectures import Architecture

# Read here: tests have a cache folder of their own each.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gadgetops-tests" / "kernels"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
OTHER_SUITES = ("-security", "-updates", "-backports", "-proposed-updates")
PARTS = re.compile(r"linux-(image|binary|modules)-")
APT_TIMEOUT_S = 300


@dataclass(frozen=True)
class Kernel:
    """
    The newest kernel of a Debian suite.

    Attributes:
        name: Its version, as people call it; `newest` for whatever it is.
        suite: The suite.
    """

    name: str
    suite: str


KERNELS = {
    kernel.name: kernel
    for kernel in (
        Kernel("5.10", "bullseye"),
        Kernel("6.1", "bookworm"),
        Kernel("6.12", "trixie"),
        Kernel("newest", "sid"),
    )
}


class Unavailable(Exception):
    """A kernel cannot be had here."""


@dataclass(frozen=True)
class KernelFiles:
    """
    What a virtual machine needs of a kernel.

    Attributes:
        image: The kernel.
        modules: In the order in which they can be loaded.
    """

    image: Path
    modules: tuple[Path, ...]


def kernel_files(kernel: Kernel, architecture: Architecture) -> KernelFiles:
    """
    Return the files of *kernel*, which are downloaded if they are not there.

    Raises:
        Unavailable: No mirror is known, or it does not have this kernel.
    """
    folder = CACHE / f"{kernel.suite}-{architecture.debian}"
    with only_one(folder):
        if not folder.exists():
            _download(kernel, architecture, folder)
    return KernelFiles(folder / "vmlinuz", tuple(sorted(folder.glob("*.ko"))))


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Let one process at a time make *folder*."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(kernel: Kernel, architecture: Architecture, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        work = Path(name)
        apt = Apt(work / "apt", kernel.suite, architecture)
        unpacked = work / "unpacked"
        for package in apt.packages(architecture.kernel_package):
            subprocess.run(["dpkg", "-x", apt.download(package), unpacked], check=True)
        _keep_what_is_needed(unpacked, architecture, work / "kept")
        (work / "kept").rename(folder)


class Apt:
    """
    apt with one suite and nothing of this machine but the address of its mirror.

    Raises:
        Unavailable: There is no mirror, or it lacks the suite.
    """

    def __init__(self, folder: Path, suite: str, architecture: Architecture) -> None:
        self._folder = folder
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True)
        # apt downloads as a user of its own, who must get here.
        for parent in (folder.parent, folder):
            parent.chmod(0o755)
        source = folder / "sources.list"
        signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
        source.write_text(f"deb {signed}{_mirror()} {suite} main\n")
        settings = {
            "APT::Architecture": architecture.debian,
            "APT::Architectures": architecture.debian,
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Dir::Cache": folder / "cache",
            "Dir::Etc::SourceList": source,
            "Dir::Etc::SourceParts": "-",
            "Dir::State::Lists": folder / "lists",
            "Dir::State::Status": "/dev/null",
        }
        self._options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        self._run("apt-get", "update", "-q", "--error-on=any")

    def packages(self, name: str) -> Iterator[str]:
        """Yield the packages that hold the kernel which package *name* stands for."""
        for line in self._run("apt-cache", "depends", "--important", name).splitlines():
            kind, _, dependency = line.strip().partition(": ")
            if kind == "Depends" and PARTS.match(dependency):
                yield dependency
                yield from self.packages(dependency)

    def download(self, package: str) -> Path:
        """Return the file of *package*."""
        self._run("apt-get", "download", "-q", package)
        return next(self._folder.glob(f"{package}_*.deb"))

    def download_with_dependencies(self, packages: Sequence[str]) -> list[Path]:
        """Return the files of *packages* and of all that they depend on."""
        self._run("apt-get", "install", "-q", "-y", "--download-only", "--no-install-recommends", *packages)
        return sorted((self._folder / "cache/archives").glob("*.deb"))

    def _run(self, *command: str) -> str:
        line = [command[0], *self._options, *command[1:]]
        done = subprocess.run(
            line, cwd=self._folder, capture_output=True, text=True, timeout=APT_TIMEOUT_S, check=False
        )
        if done.returncode:
            raise Unavailable(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout


def _mirror() -> str:
    """Return the address from which this machine has its Debian packages."""
    if shutil.which("apt-get") is None:
        raise Unavailable("no apt-get: kernels come as Debian's packages")
    form = ["--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"]
    listing = subprocess.run(["apt-get", "indextargets", *form], capture_output=True, text=True, check=True)
    for line in listing.stdout.splitlines():
        address, _, suite = line.partition(" ")
        if not suite.endswith(OTHER_SUITES):
            return address
    raise Unavailable("apt knows no mirror: see /etc/apt/sources.list.d")


def _keep_what_is_needed(unpacked: Path, architecture: Architecture, kept: Path) -> None:
    kept.mkdir()
    # In newer packages /lib is part of /usr, and the kernel may be in the folder of its modules.
    modules = next(path for part in ("lib", "usr/lib") for path in (unpacked / part).glob("modules/*"))
    images = [*(unpacked / "boot").glob("vmlinuz-*"), *modules.glob("vmlinuz*")]
    shutil.copy(images[0], kept / "vmlinuz")
    for number, path in enumerate(_in_order(modules, architecture.modules)):
        (kept / f"{number:02}-{path.name.partition('.')[0]}.ko").write_bytes(_read_module(path))


def _in_order(modules: Path, wanted: tuple[str, ...]) -> Iterator[Path]:
    """Yield the *wanted* modules, each after those that it needs; what is built in is left out."""
    base = next(parent for parent in modules.parents if parent.name == "unpacked")
    base = base / "usr" if (base / "usr/lib/modules").exists() else base
    subprocess.run(["depmod", "-b", base, modules.name], check=True, capture_output=True)
    needs = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        needs[Path(path).name.partition(".")[0]] = [*reversed(others.split()), path]
    paths = [path for name in wanted for path in needs.get(name, ())]
    return (modules / path for path in dict.fromkeys(paths))


def _read_module(path: Path) -> bytes:
    """Return a module, unpacked."""
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dc", path], check=True, capture_output=True).stdout
    return path.read_bytes()
