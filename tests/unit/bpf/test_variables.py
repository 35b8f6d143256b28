"""Global variables: which there are, where, and what is in them."""

from collections.abc import Callable
from types import ModuleType

import pytest

from gadgetops.bpf.object import Object
from gadgetops.bpf.reading import Reading
from gadgetops.errors import ObjectError


def test_variables_are_those_that_others_see(read_object: Callable[[str], Object]) -> None:
    """Not the static one, and not the hidden one."""
    variables = {
        each.name: (each.section, each.size_bytes) for each in read_object("data_sections").variables
    }
    assert variables == {
        "constant": (".rodata", 4),
        "data_in_own_section": (".data.own", 4),
        "in_own_section": (".rodata.own", 4),
        "initialised": (".data", 4),
        "text": (".rodata", 16),
        "zero": (".bss", 4),
    }


def test_contents_are_what_the_object_stores(read_object: Callable[[str], Object]) -> None:
    """And zeros where it stores nothing."""
    obj = read_object("data_sections")
    contents = {variable.name: obj.contents(variable) for variable in obj.variables}
    assert contents["initialised"] == b"\7\0\0\0"
    assert contents["text"] == b"a text".ljust(16, b"\0")
    assert contents["zero"] == bytes(4)


def test_types_are_known_where_btf_says_them(read_object: Callable[[str], Object]) -> None:
    """By id."""
    obj = read_object("data_sections")
    variable = obj.variable("initialised")
    assert variable is not None
    assert variable.type_id is not None
    assert obj.btf is not None
    assert obj.btf.types[variable.type_id].name == "int"


def test_two_variables_of_one_name_are_refused(elf: ModuleType) -> None:
    """In whichever sections they are."""
    sections = [elf.FakeSection(".data", bytes(8)), elf.FakeSection(".bss", b"", elf.NOBITS, size=8)]
    symbols = [elf.FakeSymbol("same", number, 0, elf.OBJECT) for number in (1, 2)]
    with pytest.raises(ObjectError, match=r"section \.bss: two variables are called 'same'"):
        Object.from_bytes(elf.make(sections, symbols))


def test_a_variable_may_not_reach_outside_its_section(elf: ModuleType) -> None:
    """In an older reading, when its contents are asked for."""
    symbol = elf.FakeSymbol("large", 1, 4, elf.OBJECT, size=8)
    data = elf.make([elf.FakeSection(".data", bytes(8))], [symbol])
    obj = Object.from_bytes(data, reading=Reading.IG_0_48)
    with pytest.raises(ObjectError, match="offset 4: variable 'large' reaches outside"):
        Object.from_bytes(data)
    with pytest.raises(ObjectError, match=r"section \.data: offset 4: variable 'large' reaches outside"):
        obj.contents(obj.variables[0])


def test_the_names_of_old_constants_are_left_out(elf: ModuleType) -> None:
    """clang 11 and older wrote `.Lconstinit`."""
    symbols = [elf.FakeSymbol(".Lconstinit", 1, 0, elf.OBJECT), elf.FakeSymbol("seen", 1, 8, elf.OBJECT)]
    obj = Object.from_bytes(elf.make([elf.FakeSection(".rodata", bytes(16))], symbols))
    assert [variable.name for variable in obj.variables] == ["seen"]
