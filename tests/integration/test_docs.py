"""`gadgetops docs` on a gadget of its own and a real compiler."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from services.gadget_build import build_gadget
from services.old_recordings import forget_checksums
from services.planted import write_planted

from gadgetops.recording.reader import open_recording

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
FIELDS = DATA / "objects" / "fields.bpf.o"
EMPTY = "# Notes\n\n<!-- begin flowchart -->\n<!-- end flowchart -->\n"
Gadgetops = Callable[..., "Result"]  # noqa: F821 - the class is conftest's


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of our gadget and its document, the working directory."""
    shutil.copytree(ROOT / "gadget", tmp_path / "gadget")
    for name in ("build.yaml", "build-ustack.yaml", "DEVELOPER.md"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(path: Path, pattern: str, new: str) -> None:
    text, n_changes = re.subn(pattern, new, path.read_text())
    assert n_changes
    path.write_text(text)


@pytest.mark.clang
def test_nothing_drifted_says_nothing(folder: Path, gadgetops: Gadgetops) -> None:
    result = gadgetops("docs", "--check")
    assert (result.status, result.out, result.err) == (0, "", "")


@pytest.mark.clang
def test_an_edited_probe_is_named_with_its_edge(folder: Path, gadgetops: Gadgetops) -> None:
    """Exit 3, diff and sentence on standard output, the command that repairs it on standard error."""
    before = (folder / "DEVELOPER.md").read_bytes()
    change(
        folder / "gadget/program.bpf.c", r"\tif \(unlikely\(gadget_should_discard_data_current.*\n.*\n", ""
    )
    result = gadgetops("docs", "--check")
    assert result.status == 3
    assert "trace_uprobe_free no longer looks up gadget_mntns_filter_map" in result.out.splitlines()
    assert '-trace_uprobe_free -- "Lookup" --> gadget_mntns_filter_map' in result.out.splitlines()
    assert "out of date: flowchart, sequence, flowchart:ustack, sequence:ustack\n" in result.err
    assert (folder / "DEVELOPER.md").read_bytes() == before
    assert gadgetops("docs").err == "DEVELOPER.md: updated\n"
    assert gadgetops("docs", "--check").status == 0


@pytest.mark.clang
def test_a_further_build_file_has_regions_of_its_own(folder: Path, gadgetops: Gadgetops) -> None:
    """Named after it; what changes in its source alone is seen there alone."""
    change(folder / "gadget/program_ustack.bpf.c", "#define GADGET_IG_MAPS", "")
    result = gadgetops("docs", "--check")
    assert result.status == 3
    assert "map ig_build_id is gone" in result.out.splitlines()
    assert "out of date: flowchart:ustack, sequence:ustack\n" in result.err


@pytest.mark.clang
def test_a_source_that_does_not_compile_changes_nothing(folder: Path, gadgetops: Gadgetops) -> None:
    before = (folder / "DEVELOPER.md").read_bytes()
    change(folder / "gadget/program.bpf.c", r"\Z", "\nint")
    result = gadgetops("docs")
    assert result.status == 1
    assert "program.bpf.c" in result.err
    assert (folder / "DEVELOPER.md").read_bytes() == before


@pytest.mark.clang
def test_an_image_is_drawn_as_its_source_is(folder: Path, gadgetops: Gadgetops) -> None:
    assert gadgetops("build", "--tag", "mine:v1").status == 0
    assert gadgetops("docs", "--check", "--image", "mine:v1").status == 0


def test_an_object_is_drawn_into_a_named_file(
    tmp_path: Path, gadgetops: Gadgetops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a compiler on PATH, that is."""
    path = tmp_path / "NOTES.md"
    path.write_text(EMPTY)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gadgetops("docs", path, "--object", FIELDS).status == 0
    expected = FIELDS.with_name("fields.flowchart.mmd").read_text()
    assert path.read_text() == EMPTY.replace(" -->\n<", f" -->\n```mermaid\n{expected}```\n<")


def test_drift_in_several_files_is_all_shown(tmp_path: Path, gadgetops: Gadgetops) -> None:
    paths = [tmp_path / "a.md", tmp_path / "b.md"]
    for path in paths:
        path.write_text(EMPTY)
    result = gadgetops("docs", "--check", *paths, "--object", FIELDS)
    assert result.status == 3
    assert result.out.count("+flowchart LR\n") == 2
    assert all(f"{path}: out of date: flowchart" in result.err for path in paths)


def test_a_help_screen_is_as_wide_everywhere(
    tmp_path: Path, gadgetops: Gadgetops, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "NOTES.md"
    path.write_text("<!-- begin help:list -->\n<!-- end help:list -->\n")
    for columns in ("40", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        assert gadgetops("docs", path).status == 0
        assert "```text\nUsage: gadgetops list [OPTIONS]\n" in path.read_text()
        monkeypatch.setenv("COLUMNS", "90")
        assert gadgetops("docs", "--check", path).status == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "there is no DEVELOPER.md, README.md or docs/*.md here"),
        (["x.md", "--image", "a", "--object", "b"], "--image and --object both say what to draw"),
        (["x.md"], "x.md: no generated region"),
    ],
)
def test_a_wrong_request_is_refused(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    gadgetops: Gadgetops,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.md").write_text("# Nothing generated\n")
    result = gadgetops("docs", *arguments)
    assert (result.status, result.out) == (2, "")
    assert sentence in result.err


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, gadgetops: Gadgetops) -> None:
    (tmp_path / "gone").mkdir()
    result = gadgetops("docs", tmp_path / "gone" / "x.md", "--object", FIELDS)
    assert result.status == 1
    assert f"{tmp_path / 'gone' / 'x.md'}: No such file or directory" in result.err


def test_complete_drawings_show_what_ig_leaves_out(gadgetops, tmp_path: Path) -> None:
    """In place of ig's flowchart, and `--check` agrees if it is asked the same."""
    document = tmp_path / "X.md"
    document.write_text("<!-- begin flowchart -->\n<!-- end flowchart -->\n")
    objects = Path(__file__).parents[1] / "data" / "objects"
    arguments = ("docs", document, "--object", objects / "maps_of_maps.bpf.o")
    assert gadgetops(*arguments, "--complete").status == 0
    assert 'jumps_away -- "TailCall" --> jumps' in document.read_text()
    assert gadgetops(*arguments, "--complete", "--check").status == 0
    assert gadgetops(*arguments, "--check").status == 3


def test_the_edges_of_a_recording_carry_its_counts(gadgetops: Gadgetops, tmp_path: Path) -> None:
    """The planted server's calls, at the programs that saw them."""
    recording = write_planted(tmp_path / "r.gadgetrec")
    with open_recording(recording).connect() as connection:
        [(n_freed,)] = connection.execute("select count(*) from events where operation = 'free'").fetchall()
    picture = tmp_path / "picture.md"
    picture.write_text(EMPTY)
    object_file = build_gadget(tmp_path)
    assert gadgetops("docs", "--counts", recording, "--object", object_file, picture).status == 0
    text = picture.read_text()
    assert f'-. "≥ {n_freed:,}" .-> trace_uprobe_free' in text
    assert "-.-> trace_uprobe_mmap" in text and "events of the recording r.gadgetrec" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--check", "--counts", "1s", "D.md"], "--check"),
        (["--counts", "1s"], "name the file to write"),
        (["--counts", "nowhere", "D.md"], "neither a recording nor a time"),
        (["--counts", "preload.gadgetrec", "D.md"], "without a BPF program"),
        (["--counts", "r.gadgetrec", "D.md"], "none of its operations is one of this gadget's programs"),
    ],
)
def test_counts_that_cannot_be_had_are_refused(
    gadgetops: Gadgetops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("D.md").write_text(EMPTY)
    write_planted(tmp_path / "r.gadgetrec")
    forget_checksums(write_planted(tmp_path / "preload.gadgetrec"))
    header = json.loads((tmp_path / "preload.gadgetrec" / "recording.json").read_text())
    (tmp_path / "preload.gadgetrec" / "recording.json").write_text(json.dumps(header | {"engine": "preload"}))
    done = gadgetops("docs", *arguments, "--object", FIELDS)
    assert done.status in (1, 2) and says in done.err, done.err
    assert Path("D.md").read_text() == EMPTY
