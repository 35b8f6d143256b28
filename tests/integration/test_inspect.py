"""`gadgetops inspect` from the command line, with our own eyes only."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

OBJECTS = Path(__file__).parents[1] / "data" / "objects"
FIELDS = OBJECTS / "fields.bpf.o"
Gadgetops = Callable[..., "Result"]  # noqa: F821 - the class is conftest's


@pytest.fixture(autouse=True)
def _without_ig(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an ig on PATH would add is another test's matter."""
    monkeypatch.setattr("gadgetops.gadget.reading.witness.is_present", lambda: False)


def test_a_summary_names_programs_maps_fields_and_parameters(gadgetops: Gadgetops) -> None:
    """In aligned columns."""
    result = gadgetops("inspect", FIELDS)
    assert (result.status, result.err) == (0, "")
    for line in (
        "licence   GPL",
        "sends    kprobe/one  10",
        "events  ringbuf  -    -      4096",
        "datasource files: tracer events, 200 bytes",
        "proc.named.deepest  32      2     Int16     __s16",
    ):
        assert line in result.out.splitlines()
    assert (
        "on              on              bool     true"
        in gadgetops("inspect", OBJECTS / "parameters.bpf.o").out
    )


def test_the_summary_is_json_if_asked(gadgetops: Gadgetops) -> None:
    """With the members that `gadget.inspect.facts` promises."""
    found = json.loads(gadgetops("inspect", FIELDS, "--format", "json").out)
    assert found["programs"] == [{"name": "sends", "section": "kprobe/one", "n_instructions": 10}]
    operation = next(each for each in found["datasources"][0]["fields"] if each["name"] == "operation_raw")
    assert operation["values"] == {"OPEN": 0, "CLOSE": 7}


def test_an_object_without_btf_is_summarised_with_a_warning(gadgetops: Gadgetops) -> None:
    """Which says what is not known, and why."""
    result = gadgetops("inspect", OBJECTS / "no_btf.bpf.o")
    assert result.status == 0
    assert "looks_up" in result.out
    assert "no BTF: compile with -g" in result.err


def test_an_extra_info_is_printed_alone(gadgetops: Gadgetops) -> None:
    """Text with an empty line at the end, as ig does."""
    expected = (OBJECTS / "fields.flowchart.mmd").read_text()
    assert gadgetops("inspect", FIELDS, "--extra-info", "ebpf.flowchart").out == f"{expected}\n"


def test_a_part_of_one_is_found_by_path(gadgetops: Gadgetops) -> None:
    """In the form asked for."""
    arguments = ("inspect", FIELDS, "--extra-info", "ebpf.maps", "--jsonpath", "[0].Name")
    assert gadgetops(*arguments).out == "events\n"
    assert gadgetops(*arguments[:-1], "[*].Type", "-o", "json").out == '["RingBuf"]\n'


def test_all_of_them_are_one_document(gadgetops: Gadgetops) -> None:
    """If a form is asked for and none is named."""
    found = json.loads(gadgetops("inspect", FIELDS, "-o", "json").out)
    assert found["ebpf.sections"]["contentType"] == "application/json"


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["--extra-info", "ebpf.flowcart"], 2, "did you mean ebpf.flowchart"),
        (["--extra-info", "x"], 2, "there are ebpf.flowchart, ebpf.maps"),
        (["--extra-info", "oci.manifest"], 2, "there is no extra info 'oci.manifest'"),
        (["--jsonpath", ".a"], 2, "name one with --extra-info"),
        (["--engine", "ig"], 2, "ig gives no summary"),
        (["--extra-info", "ebpf.maps", "--jsonpath", "[9]"], 2, "there is no [9]"),
        (["--arch", "sparc"], 2, "sparc"),
    ],
)
def test_requests_that_make_no_sense(
    gadgetops: Gadgetops, arguments: list[str], status: int, sentence: str
) -> None:
    """Say what would."""
    result = gadgetops("inspect", FIELDS, *arguments)
    assert (result.status, result.out) == (status, "")
    assert sentence in result.err


def test_a_damaged_object_is_an_error_with_its_place(gadgetops: Gadgetops, tmp_path: Path) -> None:
    """The file, and where in it."""
    path = tmp_path / "cut.o"
    path.write_bytes(FIELDS.read_bytes()[:2000])
    result = gadgetops("inspect", path)
    assert (result.status, result.out) == (1, "")
    assert f"error: {path}: offset " in result.err


def test_the_reading_of_an_older_ig_is_shown_if_asked(gadgetops: Gadgetops) -> None:
    """By version; a word that is none is a wrong request."""
    arguments = ("inspect", OBJECTS / "struct_ops.bpf.o", "--extra-info", "ebpf.flowchart")
    assert 'quiet[("quiet")]' in gadgetops(*arguments).out
    assert 'quiet[("quiet")]' not in gadgetops(*arguments, "--ig", "0.48").out
    refused = gadgetops(*arguments, "--ig", "newest")
    assert (refused.status, refused.out) == (2, "")
    assert "'newest' is not a version of ig" in refused.err
