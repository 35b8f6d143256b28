"""Where images are looked up, by containers-registries.conf."""

from pathlib import Path

import pytest

from gadgetops.errors import StorageError, UsageError
from gadgetops.oci.reference import Reference
from gadgetops.oci.registry import mirrors
from gadgetops.oci.registry.mirrors import candidates

HOSTS = '[[registry]]\nprefix = "*.example.com"\nlocation = "one.example"\n'
MOVED = '[[registry]]\nprefix = "quay.io"\nlocation = "m.example"\n'
DIGEST = "sha256:" + "0" * 64


@pytest.fixture(autouse=True)
def _no_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(mirrors, "MACHINE", tmp_path / "etc/registries.conf")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def places(text: str) -> list[tuple[str, bool]]:
    return [(str(each.reference), each.is_insecure) for each in candidates(Reference.parse(text))]


def test_without_files_an_image_is_where_it_says() -> None:
    assert places("quay.io/a/b:1") == [("quay.io/a/b:1", False)]


def test_mirrors_come_before_the_place_itself(tmp_path: Path) -> None:
    """With the rest of the name behind their location; the longest prefix counts, at a slash."""
    text = """
unqualified-search-registries = ["docker.io"]
[[registry]]
prefix = "quay.io/a"
location = "internal.example/quay/a"
[[registry.mirror]]
location = "127.0.0.1:5000/cache"
insecure = true
[[registry.mirror]]
location = "by-digest.example"
pull-from-mirror = "digest-only"
[[registry]]
location = "quay.io"
"""
    write(tmp_path / "etc/registries.conf", text)
    assert places("quay.io/a/b:1") == [
        ("127.0.0.1:5000/cache/b:1", True),
        ("internal.example/quay/a/b:1", False),
    ]
    by_digest = places(f"quay.io/a/b@{DIGEST}")
    assert by_digest[1] == (f"by-digest.example/b@{DIGEST}", False)
    assert places("quay.io/ab/c:1") == [("quay.io/ab/c:1", False)]


def test_a_prefix_may_stand_for_hosts_below_another(tmp_path: Path) -> None:
    write(tmp_path / "etc/registries.conf", HOSTS)
    assert places("a.example.com/x:1") == [("one.example/x:1", False)]
    assert places("example.com/x:1") == [("example.com/x:1", False)]


def test_a_user_s_file_goes_before_the_machine_s_and_folders_add_to_it(tmp_path: Path) -> None:
    """What a later file says of a prefix takes the place of what an earlier one said."""
    write(tmp_path / "etc/registries.conf", '[[registry]]\nlocation = "quay.io"\nblocked = true\n')
    with pytest.raises(UsageError, match=r"quay.io/a:1: blocked") as caught:
        places("quay.io/a:1")
    assert "registries.conf" in str(caught.value.hint)
    write(tmp_path / "config/containers/registries.conf", "")
    assert places("quay.io/a:1") == [("quay.io/a:1", False)]
    write(
        tmp_path / "etc/registries.conf.d/1.conf",
        MOVED,
    )
    assert places("quay.io/a:1") == [("m.example/a:1", False)]


@pytest.mark.parametrize("text", ["registry = [", "[registry]\nx = 1\n", "registry = 7"])
def test_a_file_of_another_form_is_named(tmp_path: Path, text: str) -> None:
    write(tmp_path / "etc/registries.conf", text)
    with pytest.raises(StorageError, match=r"registries\.conf"):
        places("quay.io/a:1")
