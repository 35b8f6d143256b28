"""Which frame is the place: functions that only pass an allocation on are not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gadgetops.questions.asking import wrappers
from gadgetops.questions.asking.stacks_of import Frame
from gadgetops.questions.asking.wrappers import Wrappers, read_wrappers, use


def frames(*functions: str | None) -> list[Frame]:
    """Return frames of these functions, leaf first."""
    return [Frame(function, None, None, "/bin/p", 1, 1) for function in functions]


@pytest.mark.parametrize(
    "passing_on",
    [
        ["zmalloc", "sdsnewlen"],
        ["xmalloc"],
        ["operator new(unsigned long)", "std::allocator<int>::allocate(unsigned long, void const*)"],
        ["operator new[](unsigned long)"],
        ["g_malloc0"],
        ["PyMem_Malloc", "PyObject_Malloc"],
        ["alloc::alloc::alloc", "alloc::raw_vec::RawVecInner<A>::try_allocate_in"],
        ["<alloc::alloc::Global as core::alloc::Allocator>::allocate"],
        ["os::malloc(unsigned long, MEMFLAGS)", "AllocateHeap(unsigned long, MEMFLAGS)"],
        ["std::vector<int, std::allocator<int> >::_M_allocate(unsigned long)"],
        ["strdup@plt"],
        [
            "operator new(unsigned long)",
            "std::_Rb_tree_node<item>* std::_Rb_tree<int, item>::_M_create_node<int>(int&&)",
            "std::map<int, item>::operator[](int const&)",
        ],
        ["operator new(unsigned long)", "std::_Function_handler<void (int), f>::_M_invoke(int)"],
        [
            "alloc::alloc::exchange_malloc",
            "<u8 as alloc::slice::hack::ConvertVec>::to_vec",
            "<alloc::string::String as core::clone::Clone>::clone",
            "hashbrown::raw::RawTable<T,A>::reserve_rehash",
            "std::collections::hash::map::HashMap<K,V,S>::insert",
        ],
    ],
    ids=lambda names: names[0],
)
def test_the_place_is_the_first_function_of_the_program(passing_on: list[str]) -> None:
    """Whatever the language, and however many pass it on."""
    place = Wrappers().place(frames(*passing_on, "handle_request", "main"))
    assert place is not None
    assert place.name == "handle_request"


@pytest.mark.parametrize(
    "name",
    [
        "malloc_stats_page",
        "my_mallocator",
        "remember",
        "xml_parse",
        "allocate_all",
        "shop::cart::operator+=(shop::item const&)",
        "std::vector<int> shop::cart::prices<int>(std::allocator<int>)",
        "(anonymous namespace)::load(std::string)",
        "<shop::Cart as core::clone::Clone>::clone",
        "standard::load(int)",
    ],
)
def test_a_function_that_only_sounds_like_one_is_a_place(name: str) -> None:
    """Names have to match as a whole."""
    place = Wrappers().place(frames(name, "main"))
    assert place is not None
    assert place.name == name


def test_a_stack_of_wrappers_alone_has_its_leaf_for_a_place() -> None:
    """And an empty one has none; an unknown function is one, too."""
    place = Wrappers().place(frames("xmalloc", "malloc"))
    assert place is not None
    assert place.name == "xmalloc"
    assert Wrappers().place([]) is None
    unknown = Wrappers().place(frames("malloc", None))
    assert unknown is not None
    assert unknown.name == "/bin/p+0x1"


def test_a_file_adds_names(tmp_path: Path) -> None:
    """One a line, with comments and wildcards."""
    path = tmp_path / "wrappers"
    path.write_text("# ours\nshop::new_*\n\n  cart alloc \n")
    assert read_wrappers(path) == ("shop::new_*", "cart?alloc")
    place = Wrappers(read_wrappers(path)).place(frames("shop::new_item(int)", "cart alloc", "buy"))
    assert place is not None
    assert place.name == "buy"


def test_groups_by_function_have_the_place(
    gadgetops: Callable[..., Any],
    write_recording: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a file of the user's, by option or in the usual folder; all frames stay in the stack."""
    path = write_recording([("malloc", 1, 5, 1), ("malloc", 2, 6, 1)])

    def first(*options: object) -> str:
        answer = gadgetops("top", path, "--group-by", "function", "--format", "json", *options).out
        use(())
        return str(json.loads(answer)["groups"][0]["group"]["name"])

    (tmp_path / "gadgetops").mkdir()
    (tmp_path / "gadgetops/wrappers").write_text("inner\n")
    assert first() == "inner"
    assert first("--wrappers", tmp_path / "gadgetops/wrappers") == "outer"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert first() == "outer"
    text = gadgetops("leaks", path).out
    use(())
    assert ", in outer" in text
    assert "  inner a.c:5" in text
    assert wrappers.wrappers().place(frames("inner")) is not None
