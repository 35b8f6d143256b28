"""Registries whose certificate, or whose clients' certificates, lie in certs.d."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from services.images import put_image
from services.registry import Certificate, RunningRegistry, running_registry

from gadgetops.oci.layout.store import open_store

Gadgetops = Callable[..., Any]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """What the registry takes as a client's certificate."""
    return Certificate.make(tmp_path_factory.mktemp("client"))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, client: Certificate) -> Iterator[RunningRegistry]:
    """A registry that speaks TLS with those alone who show that certificate."""
    own = Certificate.make(tmp_path_factory.mktemp("own"))
    tls = {
        "certificate": str(own.ca_file),
        "key": str(own.key_file),
        "clientcas": [str(client.ca_file)],
    }
    folder = tmp_path_factory.mktemp("registry")
    with running_registry(folder, ca_file=own.ca_file, client=client, http={"tls": tls}) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, registry: RunningRegistry, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder for that registry, empty, and an image to push in the store."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "config/containers/certs.d" / registry.host
    folder.mkdir(parents=True)
    put_image(open_store(), f"{registry.host}/x:v1")
    return folder


def test_both_sides_are_known_by_the_folder(
    folder: Path, registry: RunningRegistry, client: Certificate, gadgetops: Gadgetops
) -> None:
    name = f"{registry.host}/x:v1"
    refused = gadgetops("push", name)
    assert refused.status == 1 and "its certificate is not trusted" in refused.err
    assert registry.ca_file is not None
    shutil.copy(registry.ca_file, folder / "registry.crt")
    refused = gadgetops("push", name)
    assert refused.status == 1 and "wants a certificate of its clients" in refused.err, refused.err
    assert f"certs.d/{registry.host}/" in refused.err
    shutil.copy(client.ca_file, folder / "client.cert")
    refused = gadgetops("push", name)
    assert refused.status == 1 and "a certificate without its key client.key" in refused.err
    shutil.copy(client.key_file, folder / "client.key")
    assert gadgetops("push", name).status == 0
    assert gadgetops("list", "--remote", f"{registry.host}/x").out.split()[-2:] == ["v1", name]


@pytest.mark.parametrize(
    ("file", "problem"), [("x.crt", "no certificates"), ("x.cert", "no certificate with")]
)
def test_a_damaged_file_is_named(
    folder: Path, registry: RunningRegistry, gadgetops: Gadgetops, file: str, problem: str
) -> None:
    for name in (file, "x.key"):
        (folder / name).write_text("nothing")
    result = gadgetops("push", f"{registry.host}/x:v1")
    assert result.status == 1 and f"{folder / file}: {problem}" in result.err


def test_what_is_kept_for_one_host_is_shown_to_no_other(
    folder: Path, registry: RunningRegistry, client: Certificate, gadgetops: Gadgetops
) -> None:
    assert registry.ca_file is not None
    other = folder.with_name("other.example:443")
    other.mkdir()
    shutil.copy(registry.ca_file, folder / "registry.crt")
    shutil.copy(client.ca_file, other / "client.cert")
    shutil.copy(client.key_file, other / "client.key")
    result = gadgetops("push", f"{registry.host}/x:v1")
    assert result.status == 1 and "wants a certificate of its clients" in result.err
