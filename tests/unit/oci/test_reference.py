"""What text names which image, and what names none."""

import pytest

from gadgetops.errors import InvalidReference
from gadgetops.oci.reference import Reference

HEX = "2fcf0dae61edef01ebc8fdf0cffb1bfca9c366960cdd7c47c8a9a2e746f39af7"
GADGET = "ghcr.io/inspektor-gadget/gadget"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("foo", f"{GADGET}/foo:latest"),
        ("foo:v1", f"{GADGET}/foo:v1"),
        ("foo/bar", "ghcr.io/foo/bar:latest"),
        ("localhost", f"{GADGET}/localhost:latest"),
        ("localhost/foo", "localhost/foo:latest"),
        ("localhost:5000/foo", "localhost:5000/foo:latest"),
        ("localhost:5000/foo:5000", "localhost:5000/foo:5000"),
        ("reg.io/foo", "reg.io/foo:latest"),
        ("[::1]:5000/foo", "[::1]:5000/foo:latest"),
        ("reg_io.x/foo", "reg_io.x/foo:latest"),
        ("docker.io/foo", "docker.io/library/foo:latest"),
        ("docker.io/foo/bar", "docker.io/foo/bar:latest"),
        ("index.docker.io/foo", "docker.io/library/foo:latest"),
        ("index.docker.io", f"{GADGET}/index.docker.io:latest"),
        ("ghcr.io/foo", f"{GADGET}/foo:latest"),
        ("ghcr.io/foo/bar", "ghcr.io/foo/bar:latest"),
        ("ghcr.io:443/foo", "ghcr.io:443/foo:latest"),
        ("GHCR.io/foo", "GHCR.io/foo:latest"),
        ("FOO/bar:Tag", "FOO/bar:Tag"),
        ("library/foo", "ghcr.io/library/foo:latest"),
        ("a.b", f"{GADGET}/a.b:latest"),
        ("a__b/c-d--e", "ghcr.io/a__b/c-d--e:latest"),
        (f"foo@sha256:{HEX}", f"{GADGET}/foo@sha256:{HEX}"),
        (f"foo:1@sha256:{HEX}", f"{GADGET}/foo:1@sha256:{HEX}"),
        (f"foo@sha512:{HEX}{HEX}", f"{GADGET}/foo@sha512:{HEX}{HEX}"),
        (f"{HEX}", f"{GADGET}/{HEX}:latest"),
        ("foo:" + "a" * 128, f"{GADGET}/foo:{'a' * 128}"),
        ("reg.io/" + "a" * 255, f"reg.io/{'a' * 255}:latest"),
    ],
)
def test_text_is_completed_as_ig_completes_it(text: str, canonical: str) -> None:
    """Each pair was seen in index.json after `ig image tag` of ig v0.48.0."""
    assert canonical == str(Reference.parse(text))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("foo bar", "white space"),
        ("foo\n", "white space"),
        ("foo\u00a0", "white space"),
        ("https://ghcr.io/foo/bar", "scheme"),
        ("foo:", "the tag is empty"),
        ("foo:-x", "'-x' is no tag"),
        ("foo:.x", "'.x' is no tag"),
        ("foo:ä", "'ä' is no tag"),
        ("foo:" + "a" * 129, "is no tag"),
        (":tag", "repository is empty"),
        ("@", "repository is empty"),
        ("/foo", "slash too many"),
        ("foo/", "slash too many"),
        ("foo//bar", "slash too many"),
        ("reg.io/", "repository is empty"),
        ("FOO", "upper-case"),
        ("foo/Bar", "upper-case"),
        ("a___b/c", "'a___b' is no part of a repository"),
        ("a-_b", "'a-_b' is no part"),
        ("_a", "'_a' is no part"),
        ("foo/b$r", "'b$r' is no part"),
        ("foo/\u0131", "is no part"),
        ("a..b/c", "'a..b' is no registry"),
        ("-a.b/foo", "'-a.b' is no registry"),
        ("reg.io:/foo", "'reg.io:' is no registry"),
        ("reg.io:port/foo", "'reg.io:port' is no registry"),
        ("[fe80::1%eth0]/foo", "is no registry"),
        ("a" * 232, "at most 255"),
        ("reg.io/" + "a" * 256, "at most 255"),
        ("foo@", "is no digest"),
        ("foo@sha256:abc", "64 hexadecimal digits, not 3"),
        (f"foo@sha256:{HEX}0", "64 hexadecimal digits, not 65"),
        (f"foo@sha512:{HEX}", "128 hexadecimal digits, not 64"),
        (f"foo@sha256:{HEX.upper()}", "lower case"),
        (f"foo@SHA256:{HEX}", "is no digest"),
        ("foo@md5:d41d8cd98f00b204e9800998ecf8427e", "is no digest"),
        (f"foo@sha256:{HEX}@sha256:{HEX}", "hexadecimal digits"),
    ],
)
def test_text_outside_the_grammar_is_refused_with_the_part_that_is(text: str, reason: str) -> None:
    """ig v0.48.0 refuses every one of these, too."""
    with pytest.raises(InvalidReference) as caught:
        Reference.parse(text)
    assert reason in caught.value.reason


def test_error_does_not_repeat_a_long_text_whole() -> None:
    """A megabyte pasted by mistake does not flood the terminal."""
    with pytest.raises(InvalidReference) as caught:
        Reference.parse("x" * 1_000_000)
    assert len(str(caught.value)) < 500


def test_familiar_leaves_out_the_repository_of_gadgets_alone() -> None:
    """As `ig image list` shows names."""
    assert Reference.parse("foo:v1").familiar == "foo:v1"
    assert Reference.parse("foo/bar").familiar == "ghcr.io/foo/bar:latest"


def test_parts_are_told_apart() -> None:
    """Port, tag and digest have a colon each and are not mixed up."""
    reference = Reference.parse(f"localhost:5000/a/b:v1@sha256:{HEX}")
    assert Reference("localhost:5000", "a/b", "v1", f"sha256:{HEX}") == reference
    assert reference.name == "localhost:5000/a/b"
