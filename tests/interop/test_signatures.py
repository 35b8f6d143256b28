"""Two versions of cosign and we verify each other's signatures, in registries that other people wrote."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from interop.clients import tool
from services.images import put_image

from gadgetops.oci.layout.store import open_store

pytestmark = pytest.mark.interop

Gadgetops = Callable[..., Any]
LEGACY = ("--new-bundle-format=false",)
BUNDLE = ("--new-bundle-format=true",)
TRUSTED_ROOT = '{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}'
"""Nothing is trusted but the key: without a file, cosign asks a public service for one."""


class Cosign:
    """A cosign of one major version, without anything public: no log, no time stamps."""

    def __init__(self, program: str) -> None:
        self._path, self.major = tool(program), int(program[-1])

    def run(self, *arguments: object, status: int = 0) -> str:
        """Run it, which must end with *status*, and return what it said."""
        environment = os.environ | {"COSIGN_PASSWORD": "pw"}
        done = subprocess.run(
            [self._path, *map(str, arguments)], capture_output=True, text=True, check=False, env=environment
        )
        assert (done.returncode == 0) == (status == 0), done.stderr
        return done.stdout + done.stderr

    def sign(self, name: str, key: Path, form: tuple[str, ...]) -> None:
        """Sign the image *name* of a registry."""
        offline = ["--tlog-upload=false", *(["--use-signing-config=false"] if self.major >= 3 else [])]
        self.run("sign", "--yes", "--key", key, *offline, *form, "--allow-insecure-registry", name)

    def verify(self, name: str, key: Path, form: tuple[str, ...], *, status: int = 0) -> None:
        """Verify the image *name* of a registry."""
        root = key.parent / "trusted-root.json"
        root.write_text(TRUSTED_ROOT)
        offline = ["--insecure-ignore-tlog=true", *(["--trusted-root", root] if form == BUNDLE else [])]
        self.run("verify", "--key", key, *offline, *form, "--allow-insecure-registry", name, status=status)


@pytest.fixture(params=["cosign2", "cosign3"])
def cosign(request: pytest.FixtureRequest) -> Cosign:
    """One version after the other."""
    return Cosign(request.param)


@pytest.fixture
def keys(gadgetops: Gadgetops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A key pair of ours, in cosign's form."""
    monkeypatch.setenv("GADGETOPS_KEY_PASSWORD", "pw")
    assert gadgetops("keygen", "-o", tmp_path / "k").status == 0
    return tmp_path / "k.key", tmp_path / "k.pub"


@pytest.fixture
def name(host: str, request: pytest.FixtureRequest) -> str:
    """An image of the store."""
    name = f"{host}/s/{abs(hash(request.node.nodeid)):x}:v1"
    put_image(open_store(), name)
    return name


@pytest.mark.parametrize(("ours", "theirs"), [("legacy", LEGACY), ("bundle", BUNDLE)])
def test_cosign_verifies_what_we_sign(
    gadgetops: Gadgetops,
    cosign: Cosign,
    keys: tuple[Path, Path],
    name: str,
    ours: str,
    theirs: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In both forms; and not with another key."""
    private, public = keys
    # Each command takes the password out of the environment.
    monkeypatch.setenv("GADGETOPS_KEY_PASSWORD", "pw")
    signed = gadgetops("sign", name, "--key", private, "--format", ours)
    assert signed.status == 0, signed.err
    done = gadgetops("push", name)
    assert done.status == 0, done.err
    cosign.verify(name, public, theirs)
    other = public.parent / "other"
    monkeypatch.setenv("GADGETOPS_KEY_PASSWORD", "pw")
    assert gadgetops("keygen", "-o", other).status == 0
    cosign.verify(name, other.with_suffix(".pub"), theirs, status=1)


@pytest.mark.parametrize("form", [LEGACY, BUNDLE], ids=["legacy", "bundle"])
def test_we_verify_what_cosign_signs(
    gadgetops: Gadgetops,
    cosign: Cosign,
    keys: tuple[Path, Path],
    name: str,
    form: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a pull that brings the signature along."""
    private, public = keys
    assert gadgetops("push", name).status == 0
    cosign.sign(name, private, form)
    monkeypatch.setenv("GADGETOPS_STORE", str(tmp_path / "empty"))
    assert gadgetops("pull", name).status == 0
    done = gadgetops("verify", name, "--key", public)
    assert done.status == 0, done.err
