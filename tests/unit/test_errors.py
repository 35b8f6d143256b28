"""Errors keep their fields, and say one sentence made of them."""

import re
from pathlib import Path

import pytest

from gadgetops import errors
from gadgetops.errors import (
    DigestMismatch,
    DriftError,
    EngineError,
    GadgetOpsError,
    InvalidReference,
    MetadataError,
    ObjectError,
    QueryError,
    RegistryError,
    SizeMismatch,
    StorageError,
    ToolError,
    Unauthorized,
)

SENTENCES = [
    (InvalidReference("a b", "a space"), "invalid reference 'a b': a space"),
    (SizeMismatch("layer", expected_bytes=2, actual_bytes=1), "layer: size: expected 2 bytes, got 1"),
    (DigestMismatch("config", expected="a", actual="b"), "config: digest: expected a, got b"),
    (StorageError(Path("/x"), "No space left on device"), "/x: No space left on device"),
    (ObjectError("cut short", section="uprobe/libc:malloc", offset_bytes=24, name="a.o"),
     "a.o: section uprobe/libc:malloc: offset 24: cut short"),
    (MetadataError("gadget.yaml", "params.ebpf", "expected a mapping, got str"),
     "gadget.yaml: params.ebpf: expected a mapping, got str"),
    (ToolError(["clang", "-c"], status=1, output="a\nb\n"), "clang: exit status 1\n  a\n  b"),
    (EngineError("pulling x:v1", "no such host", hint="log in"),
     "container engine: pulling x:v1: no such host\nlog in"),
    (ToolError(["clang"], status=None, hint="install it"), "clang: not found on PATH\ninstall it"),
    (RegistryError("GET", "https://a.b/v2/", "no such tag", status=404, codes=["MANIFEST_UNKNOWN"]),
     "GET https://a.b/v2/: status 404: MANIFEST_UNKNOWN: no such tag"),
    (Unauthorized("GET", "https://a.b/v2/", "no credentials", status=401, hint="log in"),
     "GET https://a.b/v2/: status 401: no credentials\nlog in"),
    (QueryError("only reading is allowed, not COPY", hint="ask with `select`"),
     "only reading is allowed, not COPY\nask with `select`"),
    (DriftError(Path("D.md"), ["flowchart"], diff="", changes=[]),
     "D.md: out of date: flowchart\nrun `gadgetops docs` to rewrite it"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "sentence"), SENTENCES, ids=lambda value: type(value).__name__)
def test_an_error_says_one_sentence_from_its_fields(error: GadgetOpsError, sentence: str) -> None:
    assert str(error) == sentence


def test_long_tool_output_is_cut_and_says_so() -> None:
    error = ToolError(["clang"], status=1, output="\n".join(map(str, range(100))))
    assert "80 lines left out" in str(error)
    assert str(error).endswith("99")


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    """The docstring of errors.py draws every class, and no other."""
    tree = (errors.__doc__ or "").partition("\n\n")[2].partition("\n\n")[0]
    drawn = set(re.findall(r"^[ │├└─]*([A-Z]\w+)", tree, re.MULTILINE))
    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert classes == drawn


def test_exit_statuses_are_those_promised() -> None:
    assert InvalidReference("", "").exit_status == 2
    assert errors.UsageError("").exit_status == 2
    assert DriftError(Path("x"), [], diff="", changes=[]).exit_status == 3
    assert StorageError(Path("x"), "").exit_status == 1
