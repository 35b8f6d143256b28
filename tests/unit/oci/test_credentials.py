"""Credentials: files of docker's form, whose they are, and the programs that keep them."""

import base64
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from gadgetops.errors import ContentError, NotFound, ToolError
from gadgetops.oci.registry import credentials
from gadgetops.oci.registry.credentials import AuthFile, Credentials, find_credentials, login_file

ALICE = Credentials("alice", "open: sesame")

HELPER = """#!{python}
import json, pathlib, sys
kept = pathlib.Path({path!r})
known = json.loads(kept.read_text()) if kept.exists() else {{}}
verb, text = sys.argv[1], sys.stdin.read().strip()
with open({path!r} + ".calls", "a") as calls:
    print(*sys.argv[1:], file=calls)
if verb == "get":
    if text not in known:
        print("credentials not found in native keychain")
        sys.exit(1)
    print(json.dumps(known[text]))
elif verb == "store":
    entry = json.loads(text)
    known[entry.pop("ServerURL")] = entry
    kept.write_text(json.dumps(known))
elif verb == "erase":
    del known[text]
    kept.write_text(json.dumps(known))
"""


@pytest.fixture(autouse=True)
def _no_files_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(credentials, "IG_AUTH_FILE", tmp_path / "ig" / "config.json")
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program `docker-credential-test`; the file where it keeps what it knows."""
    kept = tmp_path / "kept.json"
    program = tmp_path / "bin" / "docker-credential-test"
    program.parent.mkdir()
    program.write_text(HELPER.format(python=sys.executable, path=str(kept)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return kept


def write(path: Path, **document: Any) -> Path:
    """Write an auth file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def entry(username: str, password: str) -> dict[str, str]:
    """Return how docker writes a name and password."""
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


def test_secrets_do_not_show() -> None:
    """Whoever prints credentials sees the name alone."""
    assert "sesame" not in repr(ALICE) and "token" not in repr(Credentials(identity_token="token-1"))


@pytest.mark.parametrize(
    "key", ["a.b:5000", "https://a.b:5000", "https://a.b:5000/v1/", "http://a.b:5000/v2/"]
)
def test_a_key_may_be_an_address(tmp_path: Path, key: str) -> None:
    path = write(tmp_path / "auth.json", auths={key: entry("alice", "open: sesame")})
    assert find_credentials("a.b:5000", path) == ALICE
    assert find_credentials("a.b", path) is None
    assert find_credentials("a.b:50001", path) is None


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "index.docker.io", "docker.io"])
def test_docker_hub_has_many_names(tmp_path: Path, key: str) -> None:
    path = write(tmp_path / "auth.json", auths={key: entry("alice", "open: sesame")})
    assert find_credentials("docker.io", path) == ALICE


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"username": "alice", "password": "open: sesame"}, ALICE),
        ({"identitytoken": "t", **entry("<token>", "")}, Credentials(identity_token="t")),
        ({}, None),
        (None, None),
    ],
)
def test_entries_have_several_forms(tmp_path: Path, value: Any, expected: Credentials | None) -> None:
    assert find_credentials("a.b", write(tmp_path / "auth.json", auths={"a.b": value})) == expected


@pytest.mark.parametrize(
    "document",
    [
        '{"auths": [1]}',
        '{"auths": {"a.b": "c2VjcmV0"}}',
        '{"auths": {"a.b": {"auth": "c2VjcmV0"}}}',
        "secret",
        "[]",
    ],
)
def test_a_damaged_file_is_named_and_its_secrets_are_not(tmp_path: Path, document: str) -> None:
    path = tmp_path / "auth.json"
    path.write_text(document)
    with pytest.raises(ContentError) as raised:
        find_credentials("a.b", path)
    assert str(path) in str(raised.value)
    assert "secret" not in str(raised.value) and "c2VjcmV0" not in str(raised.value)


def test_a_named_file_has_to_be_there(tmp_path: Path) -> None:
    """The one of the environment need not: it is where a login goes."""
    with pytest.raises(NotFound, match=r"none\.json"):
        find_credentials("a.b", tmp_path / "none.json")


def test_files_are_looked_into_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is named before what is found; ig's before docker's, each if it knows the registry."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    write(
        tmp_path / "docker" / "config.json", auths={"a.b": entry("docker", "1"), "c.d": entry("docker", "1")}
    )
    assert find_credentials("a.b") == Credentials("docker", "1")
    write(credentials.IG_AUTH_FILE, auths={"a.b": entry("ig", "2")})
    assert find_credentials("a.b") == Credentials("ig", "2")
    assert find_credentials("c.d") == Credentials("docker", "1")
    monkeypatch.setenv(
        "REGISTRY_AUTH_FILE", str(write(tmp_path / "env.json", auths={"a.b": entry("env", "3")}))
    )
    assert find_credentials("a.b") == Credentials("env", "3")
    assert find_credentials("c.d") is None
    named = write(tmp_path / "named.json", auths={"a.b": entry("named", "4")})
    assert find_credentials("a.b", named) == Credentials("named", "4")


def test_a_login_goes_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ig's file is not made: where there is none, ig reads docker's."""
    assert login_file() == Path.home() / ".docker" / "config.json"
    write(credentials.IG_AUTH_FILE)
    assert login_file() == credentials.IG_AUTH_FILE
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "env.json"))
    assert login_file() == tmp_path / "env.json"
    assert login_file(tmp_path / "named.json") == tmp_path / "named.json"


def test_a_login_keeps_what_it_does_not_know(tmp_path: Path) -> None:
    """In a file that its owner alone may read; a link stays one."""
    target = write(tmp_path / "real.json", auths={"x.y": {"auth": "eDp5", "email": "x"}}, psFormat="table")
    link = tmp_path / "link.json"
    link.symlink_to(target)
    assert AuthFile.read(link).store("a.b", ALICE) == str(link)
    written = json.loads(target.read_text())
    assert link.is_symlink() and written["psFormat"] == "table"
    assert written["auths"]["x.y"] == {"auth": "eDp5", "email": "x"}
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert find_credentials("a.b", link) == ALICE


def test_a_second_login_takes_the_place_of_the_first(tmp_path: Path) -> None:
    """Under whatever key the first was written."""
    path = write(tmp_path / "auth.json", auths={"https://a.b/v1/": entry("old", "old")})
    AuthFile.read(path).store("a.b", ALICE)
    assert [*json.loads(path.read_text())["auths"]] == ["a.b"]


def test_a_logout_forgets_all_keys_of_a_registry(tmp_path: Path) -> None:
    path = write(tmp_path / "auth.json", auths={"a.b": {}, "https://a.b/v2/": {}, "c.d": {}})
    assert AuthFile.read(path).erase("a.b") is True
    assert json.loads(path.read_text())["auths"] == {"c.d": {}}
    assert AuthFile.read(path).erase("a.b") is False


@pytest.mark.parametrize("document", [{"credsStore": "test"}, {"credHelpers": {"a.b": "test"}}])
def test_a_helper_keeps_them(tmp_path: Path, helper: Path, document: dict[str, Any]) -> None:
    """And no file has the password, nor any list of processes."""
    path = write(tmp_path / "auth.json", **document)
    assert find_credentials("a.b", path) is None
    assert AuthFile.read(path).store("a.b", ALICE) == "docker-credential-test"
    assert find_credentials("a.b", path) == ALICE
    assert json.loads(path.read_text())["auths"] == {"a.b": {}}
    assert Path(f"{helper}.calls").read_text().split() == ["get", "store", "get"]
    assert AuthFile.read(path).erase("a.b") is True
    assert find_credentials("a.b", path) is None


def test_a_helper_may_keep_an_identity_token(tmp_path: Path, helper: Path) -> None:
    helper.write_text(json.dumps({"a.b": {"Username": "<token>", "Secret": "t"}}))
    path = write(tmp_path / "auth.json", credsStore="test")
    assert find_credentials("a.b", path) == Credentials(identity_token="t")


def test_a_helper_of_one_registry_goes_before_that_of_all(tmp_path: Path, helper: Path) -> None:
    helper.write_text(json.dumps({"a.b": {"Username": "alice", "Secret": "open: sesame"}}))
    path = write(tmp_path / "auth.json", credHelpers={"a.b": "test"}, credsStore="missing")
    assert find_credentials("a.b", path) == ALICE


def test_a_missing_helper_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "auth.json", credsStore="missing")
    with pytest.raises(ToolError, match="docker-credential-missing: not found on PATH"):
        find_credentials("a.b", path)


def test_what_a_broken_helper_says_is_not_repeated(tmp_path: Path, helper: Path) -> None:
    """It may have been about to say the secret."""
    helper.write_text('{"a.b": "the secret"')
    path = write(tmp_path / "auth.json", credsStore="test")
    with pytest.raises(ToolError, match="docker-credential-test get: exit status 1") as raised:
        find_credentials("a.b", path)
    assert "the secret" not in str(raised.value)


@pytest.mark.parametrize("words", ["WARNING: locked", "", "[]", '"x"'])
def test_no_status_is_invented_for_a_helper_that_succeeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """It printed something else than JSON, before its answer or instead."""
    program = tmp_path / "docker-credential-chatty"
    program.write_text(
        f"""#!/bin/sh\ncat >/dev/null\necho '{words}'\necho '{{"Username":"a","Secret":"sesame"}}'\n"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    path = write(tmp_path / "auth.json", credsStore="chatty")
    if not words:
        assert find_credentials("a.b", path) == Credentials("a", "sesame")
        return
    with pytest.raises(ContentError, match="docker-credential-chatty get: its answer is not JSON") as raised:
        find_credentials("a.b", path)
    assert "sesame" not in f"{raised.value} {raised.value.__cause__}" and "by hand" in str(raised.value.hint)


def test_a_part_of_a_registry_may_have_credentials_of_its_own(tmp_path: Path) -> None:
    """The longest name that fits goes first, the host's last."""
    path = write(
        tmp_path / "auth.json",
        auths={
            "a.b": entry("host", "1"),
            "a.b/org": entry("org", "2"),
            "a.b/org/image": entry("image", "3"),
        },
    )
    wanted = {
        "org/image": "image",
        "org/other": "org",
        "org": "org",
        "organ/x": "host",
        "x": "host",
        "": "host",
    }
    found = {name: find_credentials("a.b", path, repository=name) for name in wanted}
    assert {name: each.username for name, each in found.items() if each} == wanted


def test_a_registry_token_is_kept_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "auth.json", auths={"a.b": {"registrytoken": "t"}})
    assert find_credentials("a.b", path) == Credentials(registry_token="t")
    assert "'t'" not in repr(find_credentials("a.b", path))
