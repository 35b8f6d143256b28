"""What an instruction refers to, and which functions a program needs, in the loader's order."""

import struct
from collections.abc import Callable
from types import ModuleType

import pytest

from gadgetops.bpf import linker
from gadgetops.bpf.object import Object
from gadgetops.errors import ObjectError

CALL = (0x85, 0, 1, 0, -1)


def functions_of(obj: Object, program: str) -> list[str]:
    """Return the names of the functions that *program* consists of."""
    found = obj.program(program)
    assert found is not None
    return [function.name for function in found.functions]


def references_of(obj: Object, program: str) -> list[str]:
    """Return what the instructions of *program* refer to."""
    found = obj.program(program)
    assert found is not None
    return [each.reference for each in found.instructions if each.reference is not None]


def test_callees_come_breadth_first_and_by_name(read_object: Callable[[str], Object]) -> None:
    """`calls` calls z, m and a, in this order; z and a call deep."""
    obj = read_object("subprograms")
    assert functions_of(obj, "calls") == ["calls", "a", "m", "z", "deep"]


def test_a_program_that_calls_another_program_contains_it(read_object: Callable[[str], Object]) -> None:
    """With all that one needs."""
    obj = read_object("subprograms")
    assert functions_of(obj, "calls_program") == ["calls_program", "calls", "a", "m", "z", "deep"]


def test_functions_in_text_are_no_programs(read_object: Callable[[str], Object]) -> None:
    """They appear in those that need them."""
    names = [program.name for program in read_object("subprograms").programs]
    assert names == ["calls", "calls_one", "calls_program"]


def test_callbacks_count_as_called(read_object: Callable[[str], Object]) -> None:
    """
    Static ones are found by their offset, global ones always as what stands at offset 0: the loader's quirk.
    """
    obj = read_object("callbacks")
    assert functions_of(obj, "walks") == ["walks", "static_callback"]
    assert functions_of(obj, "walks_globally") == ["walks_globally", "first_in_text"]


def test_static_functions_of_the_same_section_are_called_by_distance(
    read_object: Callable[[str], Object],
) -> None:
    """There is no relocation; each of them is a program as well."""
    obj = read_object("shared_section")
    assert functions_of(obj, "one") == ["one", "helper"]
    assert [program.name for program in obj.programs] == ["helper", "none", "one", "two"]


def test_data_is_referred_to_by_section(read_object: Callable[[str], Object]) -> None:
    """The offset stays in the upper half of the immediate."""
    references = set(references_of(read_object("data_sections"), "reads"))
    assert references == {"table", ".data", ".data.own", ".rodata", ".rodata.own", ".bss"}


def test_names_from_outside_are_kept(read_object: Callable[[str], Object]) -> None:
    """But kernel configuration has none, and what is not defined adds no function."""
    obj = read_object("externs")
    assert references_of(obj, "kernel_function") == ["bpf_rdonly_cast", "table"]
    assert references_of(obj, "kernel_symbol") == ["bpf_link_fops"]
    assert references_of(obj, "kernel_configuration") == []
    assert functions_of(obj, "undefined") == ["undefined"]


def linked(elf: ModuleType, target: object, symbol: object, *instructions: tuple[int, ...]) -> Object:
    """
    Return an object whose program `one` has a relocation at its start, to *symbol* in section 2, *target*.
    """
    relocation = struct.pack("<QQ", 0, 2 << 32 | 1)
    return Object.from_bytes(
        elf.make(
            [
                elf.FakeSection("kprobe/one", elf.code(*instructions) + elf.EXIT, flags=elf.EXECUTABLE),
                target,
                elf.FakeSection(".relkprobe/one", relocation, elf.REL, info=1, entry_bytes=16),
            ],
            [elf.FakeSymbol("one", 1), symbol],
        )
    )


LOAD = ((0x18, 1, 0, 0, 0), (0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("section", "symbol", "instructions", "sentence"),
    [
        ("maps", {"type": 1, "binding": 0}, LOAD, "map m is static: maps must be global"),
        ("maps", {"type": 2}, LOAD, "'m' is no global map"),
        (".data", {"type": 2}, LOAD, "'m' is no variable"),
        (".text", {"binding": 2}, (CALL,), "function 'm' is weak"),
        (".text", {"binding": 0}, (CALL,), "'m' is no global function"),
        (".text", {"type": 0}, LOAD, "'m' is no global function"),
        (".text", {}, ((0x85, 0, 0, 0, 1),), "refers to function 'm' but neither calls nor loads it"),
        (".text", {"type": 3, "binding": 0}, ((0x85, 0, 1, 0, 7),), "no function begins at offset 64"),
        (".text", {}, ((0x18, 1, 0, 0, 64), (0, 0, 0, 0, 0)), "no function begins at offset 64"),
        (".other", {}, LOAD, "refers to 'm', which is neither map, data nor function"),
    ],
)
def test_relocations_that_make_no_sense_are_refused(
    elf: ModuleType,
    section: str,
    symbol: dict[str, int],
    instructions: tuple[tuple[int, ...], ...],
    sentence: str,
) -> None:
    """With the section and offset of the instruction."""
    flags = elf.EXECUTABLE if section == ".text" else 0
    target = elf.FakeSection(section, elf.EXIT, flags=flags)
    with pytest.raises(ObjectError) as caught:
        linked(elf, target, elf.FakeSymbol("m", 2, **symbol), *instructions)
    assert str(caught.value).startswith("section kprobe/one: offset 0: ")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("symbol", "sentence"),
    [
        ({"binding": 0, "type": 0}, "'m' is neither global nor weak"),
        ({"type": 2}, "'m' is neither global nor weak"),
    ],
)
def test_undefined_symbols_are_global_or_weak(elf: ModuleType, symbol: dict[str, int], sentence: str) -> None:
    """Anything else is damage."""
    with pytest.raises(ObjectError, match=sentence):
        linked(elf, elf.FakeSection("unused"), elf.FakeSymbol("m", 0, **symbol), CALL)


def code_section(elf: ModuleType, name: str, *instructions: tuple[int, ...]) -> object:
    """Return a section of *instructions* and an exit."""
    return elf.FakeSection(name, elf.code(*instructions) + elf.EXIT, flags=elf.EXECUTABLE)


def test_a_call_into_nowhere_is_refused(elf: ModuleType) -> None:
    """By distance, without a relocation."""
    data = elf.make([code_section(elf, "kprobe/one", (0x85, 0, 1, 0, 5))], [elf.FakeSymbol("one", 1)])
    with pytest.raises(ObjectError, match="no function begins at offset 48 of section kprobe/one"):
        Object.from_bytes(data)


def test_a_section_begins_with_a_function(elf: ModuleType) -> None:
    """Or no one could name what it holds."""
    for symbols in ([], [elf.FakeSymbol("late", 1, 8)]):
        data = elf.make([code_section(elf, "kprobe/one", (0xB7, 0, 0, 0, 0))], symbols)
        with pytest.raises(ObjectError, match="section kprobe/one: does not begin with a function"):
            Object.from_bytes(data)


def test_two_functions_of_one_name_are_refused(elf: ModuleType) -> None:
    """In whichever sections they are."""
    sections = [code_section(elf, "kprobe/one"), code_section(elf, "kprobe/two")]
    data = elf.make(sections, [elf.FakeSymbol("same", 1), elf.FakeSymbol("same", 2)])
    with pytest.raises(ObjectError, match="section kprobe/two: two functions are called 'same'"):
        Object.from_bytes(data)


def test_labels_of_basic_blocks_are_no_functions(elf: ModuleType) -> None:
    """LLVM leaves them behind; any other label begins a function of its own, as it does for the loader."""
    section = code_section(elf, "kprobe/one", (0xB7, 0, 0, 0, 0), (0xB7, 0, 0, 0, 1))
    label = {"type": elf.NOTYPE, "binding": elf.LOCAL}
    symbols = [
        elf.FakeSymbol("one", 1),
        elf.FakeSymbol("LBB0_1", 1, 8, **label),
        elf.FakeSymbol("mine", 1, 16, **label),
    ]
    obj = Object.from_bytes(elf.make([section], symbols))
    assert [(program.name, len(program.instructions)) for program in obj.programs] == [
        ("mine", 1),
        ("one", 2),
    ]


def test_a_function_that_calls_itself_comes_twice(elf: ModuleType) -> None:
    """The loader's quirk: a program is not among what it has linked already."""
    data = elf.make([code_section(elf, "kprobe/one", (0x85, 0, 1, 0, -2))], [elf.FakeSymbol("one", 1)])
    assert functions_of(Object.from_bytes(data), "one") == ["one", "one"]


def test_programs_may_not_grow_without_end(elf: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred programs that share a large function are as large as a hundred large functions."""
    monkeypatch.setattr("gadgetops.bpf.object.LINKED_LIMIT_INSTRUCTIONS", 5000)
    large = elf.FakeSection(".text", elf.code(*[(0xB7, 0, 0, 0, 0)] * 99) + elf.EXIT, flags=elf.EXECUTABLE)
    calls = elf.FakeSection("kprobe/all", elf.code(*[CALL] * 100), flags=elf.EXECUTABLE)
    relocations = b"".join(struct.pack("<QQ", 8 * number, 1 << 32 | 1) for number in range(100))
    data = elf.make(
        [large, calls, elf.FakeSection(".rel", relocations, elf.REL, info=2, entry_bytes=16)],
        [elf.FakeSymbol("large", 1), *(elf.FakeSymbol(f"p{n}", 2, 8 * n) for n in range(100))],
    )
    with pytest.raises(ObjectError, match="programs of more than 5,000 instructions"):
        Object.from_bytes(data)
    assert linker.LINKED_LIMIT_INSTRUCTIONS >= 1_000_000
