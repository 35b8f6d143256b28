"""The gadget's source asks only for what both header sets provide: ours, and those of ig's builder."""

import re
from pathlib import Path

import pytest
import yaml

from gadgetops.bpf.object import Object
from gadgetops.recording.operations import NAMES as OPERATIONS
from gadgetops.trace.events.layout import EventLayout

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "gadget/program.bpf.c"
HEADERS = {
    "vmlinux.h",
    "bpf/bpf_helpers.h",
    "bpf/bpf_tracing.h",
    "gadget/buffer.h",
    "gadget/common.h",
    "gadget/filter.h",
    "gadget/macros.h",
    "gadget/types.h",
    "gadget/user_stack_map.h",
}
"""Of ig 0.40 to 0.55 and of libbpf."""
NAMES = {
    "gadget_comm",
    "gadget_discard_buf",
    "gadget_get_user_stack",
    "gadget_process",
    "gadget_process_populate",
    "gadget_reserve_buf",
    "gadget_should_discard_comm",
    "gadget_should_discard_data_current",
    "gadget_should_discard_gid",
    "gadget_should_discard_pid",
    "gadget_should_discard_tid",
    "gadget_should_discard_uid",
    "gadget_submit_buf",
    "gadget_timestamp",
    "gadget_user_stack",
}
MACROS = {"GADGET_PARAM", "GADGET_TRACER", "GADGET_TRACER_MAP"}


def code() -> str:
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", SOURCE.read_text(), flags=re.DOTALL)


def test_it_includes_only_headers_that_both_sets_have() -> None:
    assert set(re.findall(r"#include <([^>]+)>", code())) <= HEADERS


def test_it_uses_only_names_that_both_sets_have() -> None:
    text = re.sub(r"#include[^\n]*", "", code())
    assert set(re.findall(r"\bgadget_\w+", text)) <= NAMES
    assert set(re.findall(r"\bGADGET_\w+", text)) <= MACROS


def test_the_documents_of_both_images_differ_in_what_is_new_only() -> None:
    """The second one has three parameters more, and another name and description."""
    first, second = (
        yaml.safe_load((ROOT / "gadget" / name).read_text()) for name in ("gadget.yaml", "gadget_ustack.yaml")
    )
    for parameter in ("collect_build_id", "collect_otel_stack", "ig_build_id_max_entries"):
        del second["params"]["ebpf"][parameter]
    assert {key for key in first | second if first.get(key) != second.get(key)} == {"name", "description"}


@pytest.mark.clang
def test_the_second_image_has_the_maps_that_ig_asks_for(gadgetops, tmp_path: Path) -> None:
    """Beside those of the first, in the sizes that ig demands, as arm64 has them."""
    objects = {}
    for name in ("build.yaml", "build-ustack.yaml"):
        output = tmp_path / name
        assert gadgetops("build", ROOT, "-f", ROOT / name, "--strict", "-o", output).status == 0
        objects[name] = Object.from_bytes((output / "arm64.bpf.o").read_bytes())
    first, second = ({each.name: each for each in found.maps} for found in objects.values())
    assert {*second} - {*first} == {"ig_build_id", "events_lost_samples"}
    sizes = {
        name: (each.key_size_bytes, each.value_size_bytes, each.max_entries) for name, each in second.items()
    }
    assert sizes["ig_build_id"] == (4, 127 * 32, 1024)
    assert sizes["events_lost_samples"] == (4, 8, 1)


@pytest.mark.ig
@pytest.mark.parametrize("build_file", ["build.yaml", "build-ustack.yaml"])
def test_ig_says_the_same_of_our_gadget(gadgetops, build_file: str) -> None:
    """Every extra info, both diagrams among them."""
    build = ("build", ROOT, "-f", ROOT / build_file, "-t", "trace_malloc", "--strict")
    assert gadgetops(*build).status == 0
    result = gadgetops("inspect", "trace_malloc", "--engine", "both")
    assert (result.status, result.err) == (0, "")


@pytest.mark.clang
def test_operations_have_the_numbers_that_the_gadget_gives_them(gadgetops, tmp_path: Path) -> None:
    """By the enum in the object's BTF."""
    assert gadgetops("build", ROOT, "--arch", "amd64", "--output", tmp_path).status == 0
    layout = EventLayout.from_object(Object.from_bytes((tmp_path / "amd64.bpf.o").read_bytes()))
    assert layout.operations == OPERATIONS
