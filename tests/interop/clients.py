"""Clients of registries under one interface: what each calls reading, copying, and OCI layout folders."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]


_SCRIPT: Final = ROOT / "scripts" / "interop_tools.sh"
BUILT: Final = Path(
    subprocess.run([_SCRIPT, "--path"], capture_output=True, text=True, check=True).stdout.strip()
)
"""The folder of built programs; asked for before tests get a home folder of their own."""


def tool(name: str) -> str:
    """Return the path of the program *name*, built or installed; skip the test by its name."""
    built = BUILT / name
    found = str(built) if built.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"no `{name}`: `make interop-tools` builds it")
    return found


class Client:
    """
    A client that copies images between registries and folders.

    Each method raises `CalledProcessError` if the program fails.
    """

    program = ""

    def __init__(self, scratch: Path) -> None:
        self._path = tool(self.program)
        self._home = scratch / "home"
        self._home.mkdir()

    def run(self, *arguments: object) -> str:
        """Run the program and return what it printed."""
        environment = os.environ | {"HOME": str(self._home), "REGCTL_CONFIG": str(self._home / "regctl.json")}
        done = subprocess.run(
            [self._path, *map(str, arguments)], capture_output=True, text=True, check=False, env=environment
        )
        assert done.returncode == 0, f"{self.program} {' '.join(map(str, arguments))}: {done.stderr}"
        return done.stdout

    def digest(self, reference: str) -> str:
        """Return the digest of the index that *reference* stands for."""
        raise NotImplementedError

    def copy(self, source: str, target: str) -> None:
        """Copy the whole image to another repository of a registry."""
        raise NotImplementedError

    def to_folder(self, source: str, folder: Path) -> None:
        """Copy the whole image into an OCI layout, as `v1` where the client names what is there."""
        raise NotImplementedError

    def from_folder(self, folder: Path, target: str) -> None:
        """Copy the only image of an OCI layout to a registry."""
        raise NotImplementedError


class Skopeo(Client):
    """Debian's skopeo."""

    program = "skopeo"

    def digest(self, reference: str) -> str:
        """By the raw index."""
        raw = self.run("inspect", "--raw", "--tls-verify=false", f"docker://{reference}")
        return "sha256:" + hashlib.sha256(raw.encode()).hexdigest()

    def copy(self, source: str, target: str) -> None:
        """All platforms, bytes as they are."""
        plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
        self.run("copy", "--all", "--preserve-digests", *plain, f"docker://{source}", f"docker://{target}")

    def to_folder(self, source: str, folder: Path) -> None:
        """`oci:` with a name."""
        plain = ("--all", "--preserve-digests", "--src-tls-verify=false")
        self.run("copy", *plain, f"docker://{source}", f"oci:{folder}:v1")

    def from_folder(self, folder: Path, target: str) -> None:
        """`oci:` without a name: it takes the only entry of index.json."""
        plain = ("--all", "--preserve-digests", "--dest-tls-verify=false")
        self.run("copy", *plain, f"oci:{folder}", f"docker://{target}")


class Oras(Client):
    """oras, of the ORAS project."""

    program = "oras"

    def digest(self, reference: str) -> str:
        """`oras resolve`."""
        return self.run("resolve", "--plain-http", reference).strip()

    def copy(self, source: str, target: str) -> None:
        """With referrers."""
        self.run("cp", "-r", "--from-plain-http", "--to-plain-http", source, target)

    def to_folder(self, source: str, folder: Path) -> None:
        """With referrers."""
        self.run("cp", "-r", "--from-plain-http", "--to-oci-layout", source, f"{folder}:v1")

    def from_folder(self, folder: Path, target: str) -> None:
        """By digest: a name there may hold slashes and colons, which oras does not take."""
        digest = _only_digest(folder)
        self.run("cp", "-r", "--from-oci-layout", "--to-plain-http", f"{folder}@{digest}", target)


class Crane(Client):
    """go-containerregistry's crane."""

    program = "crane"

    def digest(self, reference: str) -> str:
        """`crane digest`."""
        return self.run("digest", "--insecure", reference).strip()

    def copy(self, source: str, target: str) -> None:
        """All platforms, as it does by itself."""
        self.run("copy", "--insecure", source, target)

    def to_folder(self, source: str, folder: Path) -> None:
        """`--format=oci` takes all platforms."""
        self.run("pull", "--insecure", "--format=oci", source, folder)

    def from_folder(self, folder: Path, target: str) -> None:
        """The only entry of index.json."""
        self.run("push", "--insecure", folder, target)


class Regctl(Client):
    """regclient's regctl."""

    program = "regctl"

    def run(self, *arguments: object) -> str:
        """Run regctl, which learns of plain HTTP by its settings."""
        for argument in map(str, arguments):
            if argument.startswith("127.0.0.1:"):
                super().run("registry", "set", argument.partition("/")[0], "--tls", "disabled")
        return super().run(*arguments)

    def digest(self, reference: str) -> str:
        """`regctl image digest`."""
        return self.run("image", "digest", reference).strip()

    def copy(self, source: str, target: str) -> None:
        """With referrers and digest tags, cosign's among them."""
        self.run("image", "copy", "--referrers", "--digest-tags", source, target)

    def to_folder(self, source: str, folder: Path) -> None:
        """`ocidir://`."""
        self.run("image", "copy", "--referrers", "--digest-tags", source, f"ocidir://{folder}:v1")

    def from_folder(self, folder: Path, target: str) -> None:
        """By digest, since a name there may be whole reference."""
        self.run("image", "copy", f"ocidir://{folder}@{_only_digest(folder)}", target)


def _only_digest(folder: Path) -> str:
    from gadgetops.oci.layout.layout import Layout  # noqa: PLC0415 - for the clients that want it

    (digest,) = {found.digest for found in Layout.open(folder).names().values()}
    return digest


CLIENTS: Final = (Skopeo, Oras, Crane, Regctl)
