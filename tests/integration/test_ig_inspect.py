"""
What we show of objects and images is what a real `ig` shows; `ig` gets a store of its own and touches no
other.
"""

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gadgetops.bpf.reading import NEWEST, Reading
from gadgetops.errors import ToolError
from gadgetops.gadget.media_types import ARTIFACT_TYPE, MEDIA_TYPE_METADATA, MEDIA_TYPE_OBJECT
from gadgetops.gadget.reading.extra_info import extra_infos
from gadgetops.gadget.reading.show import MODES, Mode, show, show_all
from gadgetops.gadget.reading.subject import host_architecture, open_subject
from gadgetops.gadget.reading.witness import ask, differences, reading
from gadgetops.oci.image import Blob, PlatformContent, write_image
from gadgetops.oci.layout.layout import Layout

pytestmark = pytest.mark.ig

ROOT = Path(__file__).parents[2]
OBJECTS = ROOT / "tests" / "data" / "objects"
Gadgetops = Callable[..., "Result"]  # noqa: F821 - the class is conftest's

METADATA = """\
name: mine
annotations: {a: yes, b: 0x10, c: "text", d: [1, two]}
datasources:
  files:
    fields:
      text: {annotations: {description: "more than\\none line", columns.hidden: true}}
"""


@pytest.mark.parametrize("path", sorted(OBJECTS.glob("*.bpf.o")), ids=lambda path: path.name)
def test_objects_are_shown_as_ig_shows_them(path: Path) -> None:
    """All that there is of each, in the way of this version; one without BTF is nothing to ig."""
    subject = replace(open_subject(str(path)), reading=reading())
    if path.name == "no_btf.bpf.o":
        with pytest.raises(ToolError, match="missing BTF"):
            differences(subject, extra_infos(subject))
    elif path.name == "weak.bpf.o" and subject.reading < Reading.IG_0_51:
        with pytest.raises(ToolError, match="STB_WEAK"):
            ask(subject, ["-o", "json"])
    else:
        assert differences(subject, extra_infos(subject)) == []


@pytest.mark.clang
def test_our_gadget_is_shown_as_ig_shows_it(tmp_path: Path) -> None:
    """The object that this project is about, as clang makes it here."""
    source = ROOT / "gadget" / "program.bpf.c"
    target = tmp_path / "program.bpf.o"
    includes = [f"-I{ROOT / 'gadget' / 'include'}", f"-I/usr/include/{os.uname().machine}-linux-gnu"]
    options = ["-target", "bpf", "-g", "-O2", "-D__TARGET_ARCH_x86", *includes]
    subprocess.run([shutil.which("clang") or "clang", *options, "-c", source, "-o", target], check=True)
    subject = open_subject(str(target))
    assert differences(subject, extra_infos(subject)) == []


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """
    The name of an image in the store; its object has one program, map and variable, so that no order is
    random.
    """
    monkeypatch.setenv("GADGETOPS_STORE", str(tmp_path / "store"))
    content = PlatformContent(
        host_architecture(),
        Blob(METADATA.encode(), MEDIA_TYPE_METADATA),
        (Blob((OBJECTS / "branch_select.bpf.o").read_bytes(), MEDIA_TYPE_OBJECT),),
    )
    layout = Layout.open(tmp_path / "store", create=True)
    annotations = {"org.opencontainers.image.created": "2024-01-01T00:00:00Z", "text": "<&>"}
    name = "localhost:5000/some/where:v1"
    write_image(layout, [content], artifact_type=ARTIFACT_TYPE, annotations=annotations, references=[name])
    return name


@pytest.mark.parametrize("mode", MODES)
def test_each_extra_info_of_an_image_is_ig_s_output(image: str, mode: Mode) -> None:
    """Byte for byte, but for lists, whose order is random in ig."""
    subject = open_subject(image)
    for name, info in extra_infos(subject).items():
        if name not in ("ebpf.maps", "ebpf.variables"):
            assert ask(subject, ["--extra-info", name, "-o", mode]) == show(info, mode), name


def test_a_path_leads_to_what_it_leads_to_in_ig(image: str) -> None:
    """As far as paths are understood here."""
    subject = open_subject(image)
    manifest = extra_infos(subject)["oci.manifest"]
    for path in (".layers[0].digest", '["config"]', ".layers[*].mediaType"):
        options = ["--extra-info", "oci.manifest", "--jsonpath", path]
        assert ask(subject, options) == show(manifest, "jsonpretty", path)


def test_the_document_of_all_is_ig_s(image: str) -> None:
    """Names, content and types."""
    subject = open_subject(image)
    theirs = json.loads(ask(subject, ["-o", "json"]))
    ours = json.loads(show_all(extra_infos(subject).values(), "json"))
    assert list(theirs) == list(ours)
    assert {name: info["contentType"] for name, info in theirs.items()} == {
        name: info["contentType"] for name, info in ours.items()
    }


def test_both_engines_agree_on_the_command_line(gadgetops: Gadgetops, image: str) -> None:
    """And each prints the same."""
    arguments = ("inspect", image, "--extra-info", "ebpf.flowchart", "--engine")
    results = [gadgetops(*arguments, engine) for engine in ("ours", "ig", "both", "auto")]
    assert [result.status for result in results] == [0, 0, 0, 0]
    assert len({result.out for result in results}) == 1
    assert gadgetops("inspect", image, "--engine", "both").status == 0


@pytest.fixture
def lying_ig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ig that shows another flowchart."""
    folder = tmp_path / "bin"
    folder.mkdir()
    path = folder / "ig"
    path.write_text(f"#!/bin/sh\n{shutil.which('ig')} \"$@\" | sed 's/Lookup/Update/'\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.usefixtures("lying_ig")
def test_a_difference_is_an_error_or_a_warning(gadgetops: Gadgetops, image: str) -> None:
    """With a diff; `both` insists."""
    arguments = ("inspect", image, "--extra-info", "ebpf.flowchart", "--engine")
    insisting = gadgetops(*arguments, "both")
    assert (insisting.status, insisting.out) == (1, "")
    assert '-choose -- "Lookup" --> ' in insisting.err
    assert '+choose -- "Update" --> ' in insisting.err
    warning = gadgetops(*arguments, "auto")
    assert (warning.status, "Lookup" in warning.out) == (0, True)
    assert "ig shows another ebpf.flowchart" in warning.err


def test_an_object_that_ig_cannot_load_fails_only_if_both_are_asked(gadgetops: Gadgetops) -> None:
    """Ours is shown, and why ig was not asked is a detail."""
    arguments = ("inspect", OBJECTS / "no_btf.bpf.o", "--extra-info", "ebpf.maps", "--engine")
    assert gadgetops(*arguments, "both").status == 1
    quiet = gadgetops(*arguments, "auto")
    assert (quiet.status, quiet.err) == (0, "")


@pytest.mark.parametrize("name", ["labels", "struct_ops", "may_goto"])
def test_another_version_than_the_one_on_path_is_no_difference(gadgetops: Gadgetops, name: str) -> None:
    """What is shown is the asked-for version's; ig is compared with our reading of its own version."""
    for asked in ("0.48", "0.55"):
        arguments = ("inspect", OBJECTS / f"{name}.bpf.o", "--ig", asked, "-o", "json", "--engine", "both")
        result = gadgetops(*arguments)
        assert (result.status, result.err) == (0, "")


def test_the_version_on_path_is_one_of_two_readings() -> None:
    """Both are tried where both programs are at hand, one after the other."""
    assert reading() in (Reading.IG_0_48, NEWEST)
