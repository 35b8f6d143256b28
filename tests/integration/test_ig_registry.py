"""One registry, two tools: ig pulls, verifies and inspects what we push, and we pull what ig pushes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from services.ig import Ig
from services.images import assert_whole, put_image
from services.registry import (
    PASSWORD,
    USERNAME,
    Certificate,
    RunningRegistry,
    htpasswd,
    running_registry,
)

from gadgetops.oci.content import Descriptor
from gadgetops.oci.layout.store import open_store
from gadgetops.oci.registry import credentials
from gadgetops.oci.registry.credentials import AuthFile, Credentials

pytestmark = pytest.mark.ig

ROOT = Path(__file__).parents[2]
Gadgetops = Callable[..., Any]


@pytest.fixture
def ig(tmp_path: Path) -> Ig:
    """ig with an empty store."""
    if os.geteuid() != 0:
        pytest.skip("giving ig a store of its own needs root")
    return Ig(tmp_path / "ig")


@pytest.fixture
def name(registry: RunningRegistry, monkeypatch: pytest.MonkeyPatch) -> str:
    """A reference at a registry that speaks plain HTTP."""
    monkeypatch.setenv("GADGETOPS_PLAIN_HTTP", registry.host)
    return f"{registry.host}/ig/test:v1"


@pytest.fixture
def insecure(registry: RunningRegistry) -> str:
    """How ig is told the same."""
    return f"--insecure-registries={registry.host}"


@pytest.mark.clang
def test_ig_pulls_verifies_and_inspects_what_we_push(
    gadgetops: Gadgetops, ig: Ig, name: str, insecure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The project's own gadget, signed: the signature comes along by itself."""
    monkeypatch.setenv("GADGETOPS_KEY_PASSWORD", "x")
    assert gadgetops("keygen", "--output", tmp_path / "k").status == 0
    built = gadgetops("build", ROOT, "-t", name)
    assert built.status == 0, built.err
    monkeypatch.setenv("GADGETOPS_KEY_PASSWORD", "x")
    assert gadgetops("sign", name, "--key", tmp_path / "k.key").status == 0
    pushed = gadgetops("push", name)
    assert pushed.status == 0, pushed.err
    ig("image", "pull", insecure, name)
    assert ig.images() == {name: pushed.out.strip().partition("@")[2]}
    key = f"--public-keys={(tmp_path / 'k.pub').read_text()}"
    assert "verified successfully" in ig("image", "verify", key, insecure, name)
    ours = gadgetops("inspect", name, "--extra-info", "ebpf.flowchart").out
    options = ["--auto-mount-filesystems", "--extra-info", "ebpf.flowchart"]
    assert ig("image", "inspect", *options, key, insecure, name).strip() == ours.strip()


def test_we_pull_what_ig_pushes(gadgetops: Gadgetops, ig: Ig, name: str, insecure: str) -> None:
    image: Descriptor = put_image(ig.layout, name, text="by ig")
    ig("image", "push", insecure, name)
    assert gadgetops("pull", name).out == f"{name}@{image.digest}\n"
    assert_whole(open_store())


def test_a_login_of_ours_is_igs_and_the_other_way_round(
    gadgetops: Gadgetops, ig: Ig, certificate: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both keep credentials in /var/lib/ig/config.json, once it is there."""
    monkeypatch.setattr(credentials, "IG_AUTH_FILE", ig.root / "config.json")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.ca_file))
    tls = {"certificate": str(certificate.ca_file), "key": str(certificate.key_file)}
    folder = tmp_path / "registry"
    with running_registry(
        folder, ca_file=certificate.ca_file, http={"tls": tls}, auth=htpasswd(folder)
    ) as registry:
        name = f"{registry.host}/x:v1"
        image = put_image(ig.layout, name)
        assert "basic credential not found" in ig.run("image", "push", name).stderr
        AuthFile.read(ig.root / "config.json").store(registry.host, Credentials(USERNAME, PASSWORD))
        ig("image", "push", name)
        (ig.root / "config.json").unlink()
        ig("login", registry.host, "-u", USERNAME, "-p", PASSWORD)
        pulled = gadgetops("pull", name, "--ca-file", certificate.ca_file)
        assert pulled.out == f"{name}@{image.digest}\n", pulled.err
