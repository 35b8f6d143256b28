"""`gadgetops build` with a real compiler: same input, same bytes; wrong input, one clear error, no trace."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gadgetops.bpf.contract import Contract
from gadgetops.bpf.object import Object
from gadgetops.oci.image import Image
from gadgetops.oci.layout.layout import Layout

pytestmark = pytest.mark.clang

GADGETS = Path(__file__).parents[1] / "data" / "gadgets"
OBJECT_TYPE = "application/vnd.gadget.ebpf.program.v1+binary"
CLANGS = [version for version in range(11, 40) if shutil.which(f"clang-{version}")]
TAG = "localhost:5000/minimal:v1"

OPERATION = "      operation:\n        annotations:\n          description: What happened\n"

Gadgetops = Callable[..., "Result"]  # noqa: F821 - the class is conftest's


@pytest.fixture
def gadget(tmp_path: Path) -> Path:
    """A copy of the gadget `minimal` outside of any repository."""
    return copy_to(tmp_path / "gadget")


def copy_to(folder: Path) -> Path:
    return shutil.copytree(GADGETS / "minimal", folder)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def store() -> Layout:
    return Layout.open(Path(os.environ["GADGETOPS_STORE"]))


def is_store_empty() -> bool:
    path = Path(os.environ["GADGETOPS_STORE"])
    return not path.exists() or not any(path.glob("blobs/*/*"))


def digest_in(out: str) -> str:
    return out.strip().rpartition("@")[2]


def test_an_image_has_the_gadget_for_both_architectures(gadget: Path, gadgetops: Gadgetops) -> None:
    result = gadgetops("build", gadget, "--tag", "localhost:5000/minimal")
    image = Image.load(store(), "localhost:5000/minimal:latest")
    assert result.out == f"Successfully built localhost:5000/minimal:latest@{image.digest}\n"
    assert result.err == "amd64: compiled\narm64: compiled\n"
    assert result.status == 0
    assert image.architectures == ("amd64", "arm64")
    assert image.annotations["org.opencontainers.image.title"] == "minimal"
    assert image.annotations["org.example.tier"] == "0x10"
    assert image.created == "1970-01-01T00:00:00Z"
    for architecture in image.architectures:
        assert image.config(architecture) == (gadget / "gadget.yaml").read_bytes()
        obj = Object.from_bytes(image.layer(architecture, OBJECT_TYPE))
        assert [program.section for program in obj.programs] == ["uprobe/libc:free"]
        assert not [found.name for found in obj.sections if found.name.startswith(".debug")]
        assert Contract.from_object(obj).datasource("frees") is not None


def test_without_a_tag_the_image_is_found_by_its_digest(gadget: Path, gadgetops: Gadgetops) -> None:
    result = gadgetops("build", gadget)
    assert result.out.startswith("Successfully built @sha256:")
    assert store().resolve(digest_in(result.out)).digest == digest_in(result.out)
    assert store().names() == {}


def test_an_unchanged_gadget_is_not_compiled_again(
    gadget: Path, gadgetops: Gadgetops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper, calls = tmp_path / "clang", tmp_path / "calls"
    wrapper.write_text(
        f'#!/bin/sh\ncase "$*" in *--version*) ;; *) echo >>{calls} ;; esac\nexec clang "$@"\n'
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("CLANG", str(wrapper))
    first = gadgetops("build", gadget)
    (gadget / "program.bpf.c").touch()
    second = gadgetops("build", gadget)
    assert second.err == "amd64: unchanged\narm64: unchanged\n"
    assert second.out == first.out
    assert len(calls.read_text()) == 2


@pytest.mark.parametrize(
    "edit",
    [
        lambda gadget: change(gadget / "program.bpf.c", "min_size = 1", "min_size = 2"),
        lambda gadget: change(
            gadget / "include/minimal.h",
            "typedef __u64 gadget_timestamp",
            "/**/typedef __u64 gadget_timestamp",
        ),
        lambda gadget: (gadget / "build.yaml").write_text("cflags: -DX"),
        lambda gadget: (gadget / "minimal.h").write_text('#include "include/minimal.h"\n'),
        lambda gadget: (
            (gadget / "include/bpf").mkdir()
            or (gadget / "include/bpf/bpf_helpers.h").write_text(
                "#include </usr/include/bpf/bpf_helpers.h>\n"
            )
        ),
    ],
    ids=["source", "header", "flags", "header that goes first", "header before the system's"],
)
def test_a_changed_gadget_is_compiled_again(
    gadget: Path, gadgetops: Gadgetops, edit: Callable[[Path], object]
) -> None:
    gadgetops("build", gadget)
    edit(gadget)
    for expected in ("compiled", "unchanged"):
        lines = gadgetops("build", gadget).err.splitlines()
        told = [line for line in lines if "warning" not in line]
        assert told == [f"amd64: {expected}", f"arm64: {expected}"]


def test_another_compiler_compiles_again(
    gadget: Path, gadgetops: Gadgetops, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in CLANGS[:2]:
        monkeypatch.setenv("CLANG", f"clang-{version}")
        assert "amd64: compiled\n" in gadgetops("build", gadget).err


def test_damaged_cache_entries_are_compiled_again(gadget: Path, gadgetops: Gadgetops) -> None:
    first = gadgetops("build", gadget)
    for entry in (Path(os.environ["XDG_CACHE_HOME"]) / "gadgetops/objects").iterdir():
        entry.write_bytes(entry.read_bytes()[:-1])
    second = gadgetops("build", gadget)
    assert second.err == "amd64: compiled\narm64: compiled\n"
    assert second.out == first.out


@pytest.mark.parametrize("version", CLANGS)
def test_copies_of_a_gadget_have_one_digest(
    tmp_path: Path, gadgetops: Gadgetops, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    monkeypatch.setenv("CLANG", f"clang-{version}")
    first = copy_to(tmp_path / "a")
    second = copy_to(tmp_path / "some where/else/b")
    os.utime(second / "program.bpf.c", (1, 1))
    built = gadgetops("build", first)
    assert built.status == 0
    assert gadgetops("build", second).out == built.out
    monkeypatch.chdir(second)
    assert gadgetops("build").out == built.out
    monkeypatch.chdir("include")
    assert gadgetops("build", "..").out == built.out
    for path in (Path(os.environ["GADGETOPS_STORE"]) / "blobs").rglob("*"):
        assert not path.is_file() or os.fsencode(tmp_path) not in path.read_bytes()


def test_source_date_epoch_decides_when_it_was_made(
    gadget: Path, gadgetops: Gadgetops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    gadgetops("build", gadget, "-t", TAG)
    assert Image.load(store(), TAG).created == "2023-11-14T22:13:20Z"


def test_one_architecture_may_be_enough(gadget: Path, gadgetops: Gadgetops, tmp_path: Path) -> None:
    output = tmp_path / "output"
    result = gadgetops("build", gadget, "-t", TAG, "--arch", "arm64", "--arch", "arm64", "-o", output)
    assert result.err == "arm64: compiled\n"
    assert Image.load(store(), TAG).architectures == ("arm64",)
    assert [path.name for path in output.iterdir()] == ["arm64.bpf.o"]


def test_the_objects_are_left_in_the_output_folder(
    gadget: Path, gadgetops: Gadgetops, tmp_path: Path
) -> None:
    output = tmp_path / "new/output"
    assert gadgetops("build", gadget, "-t", TAG, "--output", output).status == 0
    image = Image.load(store(), TAG)
    for architecture in ("amd64", "arm64"):
        path = output / f"{architecture}.bpf.o"
        assert path.read_bytes() == image.layer(architecture, OBJECT_TYPE)


def test_a_build_file_says_where_everything_is(tmp_path: Path, gadgetops: Gadgetops) -> None:
    gadget = tmp_path / "gadget"
    source = copy_to(gadget / "src/of it")
    (source / "gadget.yaml").rename(gadget / "meta.yaml")
    (gadget / "module.wasm").write_bytes(b"\0asm")
    (tmp_path / "my.yaml").write_text(
        "ebpfsource: src/of it/program.bpf.c\nmetadata: meta.yaml\n"
        "wasm: module.wasm\ncflags: -DUNUSED_@ARCH@ '-DB=1 2'\n"
    )
    result = gadgetops("build", gadget, "-f", tmp_path / "my.yaml", "-t", TAG)
    assert result.status == 0, result.err
    image = Image.load(store(), TAG)
    assert image.layer("amd64", "application/vnd.gadget.wasm.program.v1+binary") == b"\0asm"
    assert image.config("arm64") == (gadget / "meta.yaml").read_bytes()


def test_a_gadget_may_have_no_programs(tmp_path: Path, gadgetops: Gadgetops) -> None:
    (tmp_path / "gadget.yaml").write_text("name: only\ndatasources: {}\n")
    result = gadgetops("build", tmp_path, "-t", TAG)
    assert (result.status, result.err) == (0, "")
    assert Image.load(store(), TAG).manifest("amd64").layers == ()


def test_a_gadget_may_have_no_metadata(gadget: Path, gadgetops: Gadgetops) -> None:
    (gadget / "gadget.yaml").unlink()
    result = gadgetops("build", gadget)
    assert result.status == 0
    assert "gadgetops: warning: gadget.yaml: missing: the image says nothing of itself\n" in result.err
    assert gadgetops("build", gadget, "--strict").status == 1


def test_a_source_that_does_not_compile_is_shown_with_its_relative_path(
    gadget: Path, gadgetops: Gadgetops, tmp_path: Path
) -> None:
    change(gadget / "program.bpf.c", "return 0;", "retrun 0;")
    result = gadgetops("build", gadget, "-o", tmp_path / "output", "-t", TAG)
    assert result.status == 1
    assert result.err.startswith("gadgetops: error: clang: exit status 1\n")
    assert "  program.bpf.c:42:3: error: use of undeclared identifier 'retrun'\n" in result.err
    assert str(tmp_path) not in result.err
    assert is_store_empty()
    assert not (tmp_path / "output").exists()


def test_missing_headers_of_libbpf_are_explained(gadget: Path, gadgetops: Gadgetops) -> None:
    change(gadget / "program.bpf.c", "<bpf/bpf_helpers.h>", "<bpf/bpf_helpers_of_tomorrow.h>")
    result = gadgetops("build", gadget)
    assert result.status == 1
    assert result.err.endswith("install the compiler: apt-get install clang llvm libbpf-dev\n")


@pytest.mark.parametrize("variable", ["CLANG", "LLVM_STRIP"])
def test_a_missing_tool_is_named(
    gadget: Path, gadgetops: Gadgetops, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "no-such-tool")
    result = gadgetops("build", gadget)
    assert result.status == 1
    assert result.err == (
        "gadgetops: error: no-such-tool: not found on PATH\n"
        "install the compiler: apt-get install clang llvm libbpf-dev\n"
    )


def test_a_field_the_object_lacks_is_a_warning_and_with_strict_an_error(
    gadget: Path, gadgetops: Gadgetops
) -> None:
    """As ig passes over it."""
    change(gadget / "gadget.yaml", "      size:\n", "      sizes:\n")
    problem = (
        "gadget.yaml: datasources.frees.fields.sizes: "
        "the object has no such field (did you mean 'size'?) (line 19)"
    )
    result = gadgetops("build", gadget, "--strict")
    assert (result.status, is_store_empty()) == (1, True)
    assert f"fields.sizes: {problem.partition('sizes: ')[2]}" in result.err
    result = gadgetops("build", gadget)
    assert (result.status, is_store_empty()) == (0, False)
    assert f"gadgetops: warning: {problem}" in result.err.splitlines()


def test_a_parameter_the_object_lacks_is_an_error(gadget: Path, gadgetops: Gadgetops) -> None:
    """As ig refuses it."""
    change(gadget / "gadget.yaml", "    min_size:\n", "    max_size:\n")
    result = gadgetops("build", gadget)
    assert result.status == 1 and "params.ebpf.max_size: the object has no such parameter" in result.err
    assert is_store_empty()


def test_all_that_gadget_yaml_has_wrong_is_listed(gadget: Path, gadgetops: Gadgetops) -> None:
    change(gadget / "gadget.yaml", "      size:\n", "      sizes:\n")
    change(gadget / "gadget.yaml", "    min_size:\n", "    max_size:\n")
    change(gadget / "gadget.yaml", "params:", "programs: {trace_fre: {}}\nparams:")
    error = gadgetops("build", gadget, "--strict").err.partition("error: ")[2]
    assert [line.split(": ")[0].strip() for line in error.splitlines()] == [
        "gadget.yaml",
        "datasources.frees.fields.size",
        "datasources.frees.fields.sizes",
        "programs.trace_fre",
        "params.ebpf.min_size",
        "params.ebpf.max_size",
    ]


def test_what_is_not_documented_is_a_warning_and_with_strict_an_error(
    gadget: Path, gadgetops: Gadgetops
) -> None:
    change(gadget / "gadget.yaml", OPERATION, "")
    text = "gadget.yaml: datasources.frees.fields.operation_raw: not documented (line 11)\n"
    result = gadgetops("build", gadget, "--quiet")
    assert (result.status, result.err) == (0, f"gadgetops: warning: {text}")
    result = gadgetops("build", gadget, "--quiet", "--strict")
    assert (result.status, result.err) == (1, f"gadgetops: error: {text}")


def test_wrong_metadata_is_refused_before_anything_is_compiled(gadget: Path, gadgetops: Gadgetops) -> None:
    change(gadget / "gadget.yaml", "columns.width", "columns.with")
    problem = "columns.with: unknown key (did you mean 'columns.width'?) (line 22)"
    result = gadgetops("build", gadget, "--strict")
    assert result.status == 1
    assert "compiled" not in result.err
    assert problem in result.err
    result = gadgetops("build", gadget)
    assert result.status == 0 and problem in result.err


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"uprobe/libc:free"', '"uprobe.s/libc:free"', "program 'trace_free': ig cannot attach a program in"),
        ('"Dual BSD/GPL"', '""', "no licence: the kernel would refuse most helpers"),
        ("} sizes ", "} gadget_mntns_filter_map ", "map 'gadget_mntns_filter_map': expected hash of 8-byte"),
        (
            "GADGET_PARAM(min_size);",
            "GADGET_PARAM(min_size);\n__u64 gadget_var_x = 1;",
            "'gadget_var_x': ig takes",
        ),
        ("const volatile __u64 min_size", "__u64 min_size", "parameter 'min_size' is not const volatile"),
        ("(max_entries, 4096)", "(max_entries, 4097)", "map 'events': size: expected a power of two"),
        (
            "GADGET_TRACER(frees, events, event)",
            "GADGET_TRACER(frees, sizes, event)",
            "marker gadget_tracer_",
        ),
    ],
)
def test_an_object_that_ig_would_not_run_right_is_refused(
    gadget: Path, gadgetops: Gadgetops, old: str, new: str, problem: str
) -> None:
    source = gadget / "program.bpf.c"
    change(source, old, new)
    if "filter_map" in new:
        change(source, "&sizes", "&gadget_mntns_filter_map")
    result = gadgetops("build", gadget, "--quiet", "--strict")
    assert result.status == 1
    assert result.err.startswith(f"gadgetops: error: amd64.bpf.o: {problem}")
    assert is_store_empty()
    # ig builds an image of a program that it cannot attach.
    result = gadgetops("build", gadget, "--quiet")
    kind, status = ("warning", 0) if "cannot attach" in problem else ("error", 1)
    assert result.status == status
    assert result.err.startswith(f"gadgetops: {kind}: amd64.bpf.o: {problem}")


def test_update_metadata_fills_in_what_is_missing_and_is_done_then(
    gadget: Path, gadgetops: Gadgetops
) -> None:
    path = gadget / "gadget.yaml"
    change(path, "      size:\n        annotations:\n", "      size:  # the size\n        annotations:\n")
    text = path.read_text()
    removed = "  ebpf:\n" + text.partition("  ebpf:\n")[2]
    path.write_text(text.replace(removed, "").replace("params:", "x-own: kept\nparams:  # none yet"))
    before = path.read_text()
    assert gadgetops("build", gadget, "--strict", "--update-metadata").status == 0
    after = path.read_text()
    assert after == before + (
        "  ebpf:\n    min_size:\n      key: min_size\n      defaultValue: '1'\n"
        "      description: 'TODO: Fill parameter description'\n"
    )
    image = store().fetch(store().resolve(digest_in(gadgetops("build", gadget, "--update-metadata").out)))
    assert path.read_text() == after
    assert json.loads(image)["annotations"]["org.opencontainers.image.title"] == "minimal"


def test_update_metadata_writes_a_gadget_yaml_that_is_missing(gadget: Path, gadgetops: Gadgetops) -> None:
    (gadget / "gadget.yaml").unlink()
    assert gadgetops("build", gadget, "--strict", "--update-metadata").status == 0
    assert (gadget / "gadget.yaml").read_text().startswith("name: 'TODO: Fill the gadget name'\n")


def test_a_failed_build_updates_nothing(gadget: Path, gadgetops: Gadgetops) -> None:
    (gadget / "gadget.yaml").unlink()
    change(gadget / "program.bpf.c", '"Dual BSD/GPL"', '""')
    assert gadgetops("build", gadget, "--update-metadata").status == 1
    assert not (gadget / "gadget.yaml").exists()


def test_a_store_that_cannot_be_written_leaves_nothing_behind(
    gadget: Path, gadgetops: Gadgetops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no store")
    (gadget / "gadget.yaml").unlink()
    monkeypatch.setenv("GADGETOPS_STORE", str(tmp_path / "file"))
    result = gadgetops("build", gadget, "--update-metadata", "-o", tmp_path / "output")
    assert result.status == 1
    assert str(tmp_path / "file") in result.err
    assert not (tmp_path / "output").exists()
    assert not (gadget / "gadget.yaml").exists()


def test_a_full_disk_leaves_nothing_behind(gadget: Path, gadgetops: Gadgetops, tmp_path: Path) -> None:
    """No file may grow beyond 3 KiB; the objects, compiled before, have 4 KiB each."""
    output = tmp_path / "output"
    output.mkdir()
    gadgetops("build", gadget)
    argv = [sys.executable, "-m", "gadgetops", "build", gadget, "-o", output, "-t", TAG]
    done = subprocess.run(
        ["bash", "-c", "ulimit -f 3; trap '' XFSZ; exec \"$@\"", "bash", *map(str, argv)],
        capture_output=True,
        text=True,
        check=False,
    )
    expected = f"amd64: unchanged\narm64: unchanged\ngadgetops: error: {output}/amd64.bpf.o: File too large\n"
    assert (done.returncode, done.stderr) == (1, expected)
    assert list(output.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["-t", "Not A Tag"], "invalid reference 'Not A Tag'"),
        (["-t", f"x@sha256:{'0' * 64}"], "a new image is named by a tag, not by a digest"),
        (["--arch", "mips"], "'mips' is not one of"),
        (["nowhere"], "nowhere: not a folder"),
    ],
)
def test_requests_that_make_no_sense_are_refused(
    gadget: Path, gadgetops: Gadgetops, monkeypatch: pytest.MonkeyPatch, arguments: list[str], problem: str
) -> None:
    monkeypatch.chdir(gadget)
    result = gadgetops("build", *arguments)
    assert result.status == 2
    assert problem in result.err
    assert is_store_empty()


def test_a_folder_with_nothing_to_build_is_refused(tmp_path: Path, gadgetops: Gadgetops) -> None:
    result = gadgetops("build", tmp_path)
    assert result.status == 2
    assert "nothing to build" in result.err
