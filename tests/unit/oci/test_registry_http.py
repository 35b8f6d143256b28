"""Where the API of a registry is, and what stands in an error about it."""

import pytest

from gadgetops.oci.reference import Reference
from gadgetops.oci.registry.access import Access
from gadgetops.oci.registry.client import Repository
from gadgetops.oci.registry.failures import one_line, retry_after, shown
from gadgetops.oci.registry.http import Transport


@pytest.mark.parametrize(
    ("reference", "plain_http", "expected"),
    [
        ("ghcr.io/a/b:1", [], "https://ghcr.io/v2/a/b/manifests/1"),
        ("docker.io/b:1", [], "https://registry-1.docker.io/v2/library/b/manifests/1"),
        ("localhost/b:1", [], "https://localhost/v2/b/manifests/1"),
        ("a.b/c.d/e:1", [], "https://a.b/v2/c.d/e/manifests/1"),
        ("a.b:5000/c:1", ["a.b:5000"], "http://a.b:5000/v2/c/manifests/1"),
        ("a.b:5000/c:1", ["a.b", "a.b:50001"], "https://a.b:5000/v2/c/manifests/1"),
        ("[::1]:5000/c:1", ["[::1]:5000"], "http://[::1]:5000/v2/c/manifests/1"),
    ],
)
def test_a_reference_has_one_address(reference: str, plain_http: list[str], expected: str) -> None:
    """HTTPS, unless just this host and port were named."""
    repository = Repository.open(Reference.parse(reference), Access(plain_http=frozenset(plain_http)))
    assert repository._manifest_url("1") == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://alice:secret@a.b/v2/x?signature=secret#secret", "https://a.b/v2/x"),
        ("http://[::1]:5000/v2/", "http://[::1]:5000/v2/"),
        ("https://a.b/" + "x" * 1000, "https://a.b/" + "x" * 288),
    ],
)
def test_an_address_is_shown_without_secrets(url: str, expected: str) -> None:
    assert shown(url) == expected


def test_a_registrys_words_cannot_control_a_terminal() -> None:
    assert one_line("a\x1b[2Jb\nc\u202ed") == "a [2Jb c d"
    assert one_line(None) == "" and len(one_line("x" * 1000)) == 300


@pytest.mark.parametrize(
    ("value", "expected"), [("5", 5.0), ("", None), ("-5", None), ("5.5", None), ("٣", None)]
)
def test_seconds_to_wait(value: str, expected: float | None) -> None:
    """Digits, or else it has to be a date."""
    assert retry_after({"Retry-After": value}) == expected


def test_the_way_to_us_is_the_registry_alone() -> None:
    """Another port, scheme or name is somebody else."""
    transport = Transport("a.b", Access())
    assert transport._is_ours("https://a.b/v2/") and transport._is_ours("https://A.B:443/x")
    for other in (
        "http://a.b/",
        "https://a.b:8443/",
        "https://a.b.c/",
        "https://a.b@c.d/",
        "https://c.d/a.b",
    ):
        assert not transport._is_ours(other), other
