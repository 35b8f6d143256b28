"""The gadget's source asks only for what both header sets provide: ours, and those of ig's builder."""

import re
from pathlib import Path

import pytest

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


@pytest.mark.ig
def test_ig_says_the_same_of_our_gadget(gadgetops) -> None:
    """Every extra info, both diagrams among them."""
    assert gadgetops("build", ROOT, "-t", "trace_malloc", "--strict").status == 0
    result = gadgetops("inspect", "trace_malloc", "--engine", "both")
    assert (result.status, result.err) == (0, "")
