"""`diff-images` on compiled gadgets, as a release check would run it."""

import json
import shutil
from pathlib import Path

import pytest

from gadgetops.errors import ObjectError

DATA = Path(__file__).parents[1] / "data"
OBJECTS = DATA / "objects"


@pytest.mark.clang
def test_a_release_check_fails_on_what_breaks_and_on_nothing_else(gadgetops, tmp_path: Path) -> None:
    """A field renamed and one added, from source to exit status."""
    for name in ("old", "more", "renamed"):
        shutil.copytree(DATA / "gadgets" / "minimal", tmp_path / name)
    change(tmp_path / "more", "__u64 __private;", "__u64 __private;\n\t__u32 extra;")
    change(tmp_path / "renamed", "__u64 size;", "__u64 bytes;")
    change(tmp_path / "renamed", "event->size", "event->bytes")
    change(tmp_path / "renamed", " size:", " bytes:", "gadget.yaml")
    for name in ("old", "more", "renamed"):
        done = gadgetops("build", tmp_path / name, "--tag", name, "--arch", "amd64")
        assert done.status == 0, done.err

    def diff(*arguments: str):
        return gadgetops("diff-images", *arguments, "--arch", "amd64")

    more = diff("old", "more", "--check")
    assert (more.status, more.out.splitlines()[1].split()) == (0, ["-", "field", "frees.extra", "added"])
    assert more.err == "0 breaking changes, 1 other\n"
    renamed = diff("old", "renamed", "--check")
    assert renamed.status == 3
    assert "breaking  field  frees.size  renamed field: size -> bytes" in renamed.out
    assert diff("old", "renamed").status == 0
    found = json.loads(diff("old", "renamed", "--format", "json").out)
    assert found["is_breaking"]
    assert found["changes"][0]["details"] == {"field": ["size", "bytes"]}
    same = diff("old", "old", "--check")
    assert (same.status, same.out) == (0, "")


def change(folder: Path, old: str, new: str, name: str = "program.bpf.c") -> None:
    """Replace *old*, which must be there, in a file of the gadget."""
    path = folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_objects_are_compared_too(gadgetops) -> None:
    """Without an image around them."""
    done = gadgetops("diff-images", OBJECTS / "verbs.bpf.o", OBJECTS / "no_maps.bpf.o", "--check")
    assert done.status == 3
    assert "breaking  program" in done.out


def test_what_cannot_be_read_is_not_taken_for_gone(gadgetops) -> None:
    """Without BTF nobody knows the fields: that is an error, not a list of removals."""
    done = gadgetops("diff-images", OBJECTS / "fields.bpf.o", OBJECTS / "no_btf.bpf.o")
    assert (done.status, done.out) == (ObjectError.exit_status, "")
    assert "no_btf.bpf.o" in done.err


@pytest.mark.clang
def test_a_flag_renamed_or_a_default_changed_in_gadget_yaml_alone_breaks(gadgetops, tmp_path: Path) -> None:
    """The object is the same, byte for byte."""
    for name, new in (("flag", "key: at-least"), ("default", "key: min-size"), ("old", "key: min-size")):
        folder = shutil.copytree(DATA / "gadgets" / "minimal", tmp_path / name)
        change(folder, "key: min-size", new, "gadget.yaml")
    change(tmp_path / "default", 'defaultValue: "1"', 'defaultValue: "2"', "gadget.yaml")
    for name in ("old", "flag", "default"):
        assert gadgetops("build", tmp_path / name, "--tag", name, "--arch", "amd64").status == 0
    for name, text in (("flag", "renamed parameter: min-size -> at-least"), ("default", "default: 1 -> 2")):
        done = gadgetops("diff-images", "old", name, "--check", "--arch", "amd64")
        assert (done.status, len(done.out.splitlines())) == (3, 2)
        assert text in done.out
