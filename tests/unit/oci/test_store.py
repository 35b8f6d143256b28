"""Which folder the store is."""

import os
from pathlib import Path

import pytest

from gadgetops.errors import NotFound, StorageError
from gadgetops.oci.layout import store
from gadgetops.oci.layout.store import open_store, store_path
from gadgetops.oci.layout.store_choice import listener


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GADGETOPS_STORE", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(store, "IG_STORE", tmp_path / "ig/oci-store")


def become(monkeypatch: pytest.MonkeyPatch, uid: int, *, ig_installed: bool) -> None:
    """Make the store believe in another user and machine."""
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(store.shutil, "which", lambda tool: "/usr/bin/ig" if ig_installed else None)


def test_root_on_a_machine_with_ig_uses_its_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Installed or used before: either is enough."""
    become(monkeypatch, 0, ig_installed=True)
    assert store_path() == tmp_path / "ig/oci-store"
    become(monkeypatch, 0, ig_installed=False)
    assert store_path() == tmp_path / "data/gadgetops/store"
    (tmp_path / "ig/oci-store").mkdir(parents=True)
    assert store_path() == tmp_path / "ig/oci-store"


def test_other_users_have_their_own_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """ig's is root's alone, until a newer ig has made one for the user."""
    monkeypatch.setenv("HOME", str(tmp_path))
    become(monkeypatch, 1000, ig_installed=True)
    assert store_path() == tmp_path / "data/gadgetops/store"
    assert store_path("ig") == tmp_path / ".ig/oci-store"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert store_path() == tmp_path / ".local/share/gadgetops/store"
    (tmp_path / ".ig/oci-store").mkdir(parents=True)
    assert store_path() == tmp_path / ".ig/oci-store"


def test_what_was_chosen_at_first_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever runs ig in between, and for readers, too; it is said once. Another user chooses anew."""
    said: list[Path] = []
    monkeypatch.setattr(listener, "on_choice", said.append)
    become(monkeypatch, 0, ig_installed=False)
    with pytest.raises(NotFound):
        open_store(create=False)
    (tmp_path / "ig/oci-store").mkdir(parents=True)
    become(monkeypatch, 0, ig_installed=True)
    assert store_path() == tmp_path / "data/gadgetops/store"
    assert open_store().root == tmp_path / "data/gadgetops/store"
    assert said == [tmp_path / "data/gadgetops/store"]
    assert open_store("ig").root == tmp_path / "ig/oci-store"
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ig/oci-store").mkdir(parents=True)
    become(monkeypatch, 1000, ig_installed=True)
    assert open_store().root == tmp_path / ".ig/oci-store"
    assert said[1:] == [tmp_path / ".ig/oci-store"]


def test_a_choice_that_cannot_be_kept_is_no_obstacle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where nothing can be written, or what was kept is damaged."""
    become(monkeypatch, 0, ig_installed=True)
    (tmp_path / "data/gadgetops").mkdir(parents=True)
    (tmp_path / "data/gadgetops/store-of-user-0").write_bytes(b"\xff")
    assert store_path() == tmp_path / "ig/oci-store"
    (tmp_path / "data/gadgetops/store-of-user-0").unlink()
    (tmp_path / "data/gadgetops").rmdir()
    (tmp_path / "data/gadgetops").touch()
    assert open_store().root == tmp_path / "ig/oci-store"


def test_choice_names_a_store_or_a_folder(tmp_path: Path) -> None:
    """`ig`, `user`, or a path."""
    assert store_path("ig") == tmp_path / "ig/oci-store"
    assert store_path("user") == tmp_path / "data/gadgetops/store"
    assert store_path("some/folder") == Path("some/folder")


def test_variable_goes_before_the_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It may name the same stores; empty is as good as unset."""
    monkeypatch.setenv("GADGETOPS_STORE", str(tmp_path / "mine"))
    assert store_path("user") == tmp_path / "mine"
    monkeypatch.setenv("GADGETOPS_STORE", "ig")
    assert store_path("user") == tmp_path / "ig/oci-store"
    monkeypatch.setenv("GADGETOPS_STORE", "")
    assert store_path("some/folder") == Path("some/folder")


def test_store_is_made_by_writers_alone(tmp_path: Path) -> None:
    """A reader of a store that is not there leaves no trace."""
    with pytest.raises(NotFound):
        open_store("user", create=False)
    assert not (tmp_path / "data").exists()
    assert open_store("user").root == tmp_path / "data/gadgetops/store"


def test_store_made_for_ig_is_as_private_as_its_own(tmp_path: Path) -> None:
    """Mode 0700, as ig makes it."""
    assert open_store("ig").root.stat().st_mode & 0o777 == 0o700


def test_file_in_the_way_is_a_storage_error(tmp_path: Path) -> None:
    """Whichever part of the path it is."""
    (tmp_path / "data").touch()
    with pytest.raises(StorageError):
        open_store("user")
