"""build.yaml: defaults, where paths lead, and what is refused."""

from pathlib import Path

import pytest

from gadgetops.errors import MetadataError, StorageError, UsageError
from gadgetops.gadget.building.buildfile import BuildFile


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a source and metadata under their default names."""
    folder = tmp_path / "gadget"
    folder.mkdir()
    (folder / "program.bpf.c").write_text("int x;")
    (folder / "gadget.yaml").write_text("name: x")
    return folder


def test_without_a_build_file_the_defaults_hold(folder: Path) -> None:
    build = BuildFile.read(folder)
    assert build == BuildFile(folder, None, Path("program.bpf.c"), Path("gadget.yaml"), None, ())
    assert build.read_metadata() == b"name: x"
    assert build.read_wasm() is None


@pytest.mark.parametrize("text", ["", "# nothing\n", "ebpfsource:\nmetadata: ~\nwasm: null\ncflags:\n"])
def test_an_empty_build_file_leaves_the_defaults(folder: Path, text: str) -> None:
    (folder / "build.yaml").write_text(text)
    build = BuildFile.read(folder)
    assert build.path == folder / "build.yaml"
    assert (build.source, build.metadata) == (Path("program.bpf.c"), Path("gadget.yaml"))


def test_paths_are_relative_to_the_folder_even_of_a_build_file_elsewhere(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "src").mkdir()
    (folder / "src/other.bpf.c").write_text("int x;")
    (folder / "module.wasm").write_bytes(b"\0asm")
    file = tmp_path / "my-build.yaml"
    file.write_text(
        "ebpfsource: src/other.bpf.c\nmetadata: 5\nwasm: module.wasm\ncflags: -DA='1 2' -I@ARCH@\n"
    )
    build = BuildFile.read(folder, file)
    assert build.source == Path("src/other.bpf.c")
    assert build.metadata == Path("5")
    assert build.read_metadata() is None
    assert build.read_wasm() == b"\0asm"
    assert build.cflags == ("-DA=1 2", "-I@ARCH@")


def test_metadata_and_source_may_be_switched_off(folder: Path) -> None:
    (folder / "build.yaml").write_text('metadata: ""\n')
    assert BuildFile.read(folder).metadata is None
    (folder / "build.yaml").write_text('ebpfsource: ""\n')
    assert BuildFile.read(folder).source is None


def test_a_default_source_may_be_missing_but_a_named_one_may_not(folder: Path) -> None:
    (folder / "program.bpf.c").unlink()
    assert BuildFile.read(folder).source is None
    (folder / "build.yaml").write_text("ebpfsource: program.bpf.c\n")
    with pytest.raises(MetadataError) as caught:
        BuildFile.read(folder)
    assert caught.value.path == "ebpfsource"
    assert caught.value.reason == f"'program.bpf.c': no such file in {folder}"


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        ("cflags: [a]", "cflags", "expected compiler options separated by blanks, got a list (line 1)"),
        ("wasm: {a: b}", "wasm", "expected a path, got a mapping (line 1)"),
        ('cflags: "-D\'x"', "cflags", "no closing quotation"),
        ("wasm: go/program.go", "wasm", "'go/program.go': no such file in {folder}"),
        (
            "wasm: program.c",
            "wasm",
            "'program.c': expected a module (*.wasm) or its source in Go or Rust (*.go, *.rs)",
        ),
        ("- a", "", "expected a mapping, got a list"),
        ("a: b: c", "", "line 1, column 5: mapping values are not allowed here"),
    ],
)
def test_a_wrong_build_file_is_refused_with_its_place(
    folder: Path, text: str, path: str, reason: str
) -> None:
    (folder / "build.yaml").write_text(text)
    with pytest.raises(MetadataError) as caught:
        BuildFile.read(folder)
    assert (caught.value.document, caught.value.path) == (str(folder / "build.yaml"), path)
    assert caught.value.reason == reason.replace("{folder}", str(folder))


def test_a_wasm_module_must_be_there(folder: Path) -> None:
    (folder / "build.yaml").write_text("wasm: module.wasm")
    with pytest.raises(MetadataError, match=r"'module\.wasm': no such file"):
        BuildFile.read(folder)


def test_an_unreadable_wasm_module_is_named(folder: Path) -> None:
    (folder / "build.yaml").write_text("wasm: module.wasm")
    (folder / "module.wasm").write_bytes(b"\0asm")
    build = BuildFile.read(folder)
    (folder / "module.wasm").unlink()
    with pytest.raises(StorageError) as caught:
        build.read_wasm()
    assert caught.value.path == folder / "module.wasm"


def test_a_named_build_file_must_be_there(folder: Path) -> None:
    with pytest.raises(StorageError):
        BuildFile.read(folder, folder / "other.yaml")


def test_there_must_be_something_to_build(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"nothing to build: no program\.bpf\.c, no gadget\.yaml, no wasm module"
    ):
        BuildFile.read(tmp_path)
    with pytest.raises(UsageError, match="not a folder"):
        BuildFile.read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("ebpfSource: x", "ebpfSource: unknown key (did you mean 'ebpfsource'?) (line 1)"),
        ("meta: x", "meta: unknown key (did you mean 'metadata'?) (line 1)"),
        ("qqqq: x", "qqqq: unknown key (line 1)"),
        ("cflags: -DX", "cflags: used here, and ignored by `ig image build` since 0.48.1"),
    ],
)
def test_what_ig_passes_over_is_a_warning(folder: Path, text: str, warning: str) -> None:
    (folder / "build.yaml").write_text(text)
    read = BuildFile.read(folder)
    assert read.warnings == (f"{folder / 'build.yaml'}: {warning}",)
    assert read.source == Path("program.bpf.c")
