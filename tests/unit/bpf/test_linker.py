"""What an instruction refers to, and which functions a program needs, in the loader's order."""

import struct
from collections.abc import Callable
from types import ModuleType

import pytest

from gadgetops.bpf import linker
from gadgetops.bpf.object import Object
from gadgetops.bpf.reading import NEWEST, Reading
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


def linked(
    elf: ModuleType,
    target: object,
    symbol: object,
    *instructions: tuple[int, ...],
    reading: Reading = NEWEST,
) -> Object:
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
        ),
        reading=reading,
    )


LOAD = ((0x18, 1, 0, 0, 0), (0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("section", "symbol", "instructions", "sentence"),
    [
        ("maps", {"type": 1, "binding": 0}, LOAD, "map m is static: maps must be global"),
        ("maps", {"type": 2}, LOAD, "'m' is no global map"),
        (".data", {"type": 2}, LOAD, "'m' is no variable"),
        (".text", {"binding": 2}, LOAD, "function 'm' is weak"),
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


def test_weak_functions_are_called_since_ig_0_51(elf: ModuleType) -> None:
    """The older loader refuses them."""
    target, symbol = code_section(elf, ".text"), elf.FakeSymbol("m", 2, binding=2)
    assert functions_of(linked(elf, target, symbol, CALL), "one") == ["one", "m"]
    with pytest.raises(ObjectError, match="function 'm' is weak"):
        linked(elf, target, symbol, CALL, reading=Reading.IG_0_48)


def test_a_section_has_a_function(elf: ModuleType) -> None:
    """To the older loader, it begins with one: no one could name what it holds."""
    section = code_section(elf, "kprobe/one", (0xB7, 0, 0, 0, 0))
    with pytest.raises(ObjectError, match="section kprobe/one: has no function"):
        Object.from_bytes(elf.make([section], []))
    late = elf.make([section], [elf.FakeSymbol("late", 1, 8)])
    (program,) = Object.from_bytes(late).programs
    assert len(program.instructions) == 1
    with pytest.raises(ObjectError, match="section kprobe/one: does not begin with a function"):
        Object.from_bytes(late, reading=Reading.IG_0_48)


def test_functions_are_as_long_as_their_symbols(elf: ModuleType) -> None:
    """What lies between them is in none; the older loader goes on to the next."""
    section = code_section(elf, "kprobe/one", *[(0xB7, 0, 0, 0, 0)] * 4)
    data = elf.make([section], [elf.FakeSymbol("one", 1, size=16), elf.FakeSymbol("two", 1, 24)])
    lengths = [(each.name, len(each.instructions)) for each in Object.from_bytes(data).programs]
    assert lengths == [("one", 2), ("two", 2)]
    (function,) = Object.from_bytes(data).programs[1].functions
    assert function.gap_bytes == 8
    older = Object.from_bytes(data, reading=Reading.IG_0_48).programs
    assert [(each.name, len(each.instructions)) for each in older] == [("one", 3), ("two", 2)]


@pytest.mark.parametrize("size", [0, 24])
def test_a_function_has_a_size_within_its_section(elf: ModuleType, size: int) -> None:
    """Neither nothing nor more than there is."""
    section = code_section(elf, "kprobe/one", (0xB7, 0, 0, 0, 0))
    data = elf.make([section], [elf.FakeSymbol("one", 1, size=size)])
    with pytest.raises(ObjectError, match=f"offset 0: function 'one': {size} bytes"):
        Object.from_bytes(data)


def test_two_functions_of_one_name_are_refused(elf: ModuleType) -> None:
    """In whichever sections they are."""
    sections = [code_section(elf, "kprobe/one"), code_section(elf, "kprobe/two")]
    data = elf.make(sections, [elf.FakeSymbol("same", 1), elf.FakeSymbol("same", 2)])
    with pytest.raises(ObjectError, match="section kprobe/two: two functions are called 'same'"):
        Object.from_bytes(data)


def test_local_labels_are_no_functions(elf: ModuleType) -> None:
    """The older loader knows only those of LLVM; at any other it begins a function."""
    section = code_section(elf, "kprobe/one", (0xB7, 0, 0, 0, 0), (0xB7, 0, 0, 0, 1))
    label = {"type": elf.NOTYPE, "binding": elf.LOCAL}
    symbols = [
        elf.FakeSymbol("one", 1, size=24),
        elf.FakeSymbol("LBB0_1", 1, 8, **label),
        elf.FakeSymbol("mine", 1, 16, **label),
    ]
    data = elf.make([section], symbols)
    for reading, expected in ((NEWEST, [("one", 3)]), (Reading.IG_0_48, [("mine", 1), ("one", 2)])):
        programs = Object.from_bytes(data, reading=reading).programs
        assert [(program.name, len(program.instructions)) for program in programs] == expected


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
