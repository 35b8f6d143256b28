"""We name what GDB names, in whatever form a program has its debug information."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from gadgetops.stacks.naming.symbols import Module

SOURCE = Path(__file__).parents[2] / "workloads/inlined.cpp"
FLAGS = ["-O2", "-fno-optimize-sibling-calls", "-no-pie"]
NEEDED = ("gdb", "g++", "clang++", "dwz", "xz", "dwp", "llvm-dwp", "llvm-symbolizer")
FRAME = re.compile(r"#\d+ +(?P<address>0x[0-9a-f]+ in )?(?P<function>.*?)( \(.*?\))?( at .*:(?P<line>\d+))?")
LOCAL = """
#include <cstdlib>
static void *volatile kept;
static volatile int others;
static inline __attribute__((always_inline)) void keep(size_t size_bytes)
{
    kept = malloc(size_bytes);
}
struct Box {
    int size_bytes;
    __attribute__((noinline)) int fill(int times) const
    {
        auto once = [this, times]() __attribute__((noinline)) {
            keep(size_bytes);
            others = others + times;
            return others;
        };
        return once();
    }
};
int main()
{
    Box box = {6100};
    return box.fill(0);
}
"""

pytestmark = [
    pytest.mark.skipif(shutil.which(tool) is None, reason=f"no `{tool}` on PATH") for tool in NEEDED
]
Place = tuple[str, int | None]


def run(folder: Path, *argv: object) -> str:
    command = [*map(str, argv)]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout


def built(folder: Path, compiler: str, *options: str) -> Path:
    """Compile in two steps, as build systems do, in *folder*."""
    run(folder, compiler, *FLAGS, *options, "-c", SOURCE, "-o", "inlined.o")
    # One function is in the dynamic table of symbols, as those of libraries are.
    run(folder, compiler, "-no-pie", "-Wl,--export-dynamic-symbol=main", "inlined.o", "-o", "inlined")
    return folder / "inlined"


def moved_with_its_units(folder: Path) -> Path:
    """Not where it was compiled: `.dwo` files are beside the program alone."""
    (folder / "compiled").mkdir()
    built(folder / "compiled", "g++", "-g", "-gsplit-dwarf")
    return (folder / "compiled").rename(folder / "elsewhere") / "inlined"


def package(program: Path, tool: str) -> None:
    """Put all `.dwo` files into one package; they are gone then."""
    run(program.parent, tool, "-e", "inlined", "-o", "inlined.dwp")
    (program.parent / "inlined.dwo").unlink()


def shortened(folder: Path, place: str = "common") -> Path:
    """Two programs, what they share in a third file."""
    program = built(folder, "g++", "-g")
    shutil.copy(program, folder / "second")
    (folder / place).parent.mkdir(exist_ok=True)
    run(folder, "dwz", "-m", place, "-M", place, "inlined", "second")
    return program


def compressed(folder: Path, kind: str) -> Path:
    program = built(folder, "g++", "-g")
    run(folder, newest("llvm-objcopy"), f"--compress-debug-sections={kind}", "inlined")
    return program


def newest(tool: str) -> str:
    found = sorted(Path("/usr/bin").glob(f"{tool}-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    return str(found[-1])


def mini(folder: Path) -> Path:
    """Stripped; what the dynamic symbols lack is compressed in a section, as Fedora does it."""
    program = built(folder, "g++", "-g")
    run(folder, "objcopy", "--only-keep-debug", "inlined", "debug")
    names = [line.split() for line in run(folder, "nm", "--format=posix", "inlined").splitlines()]
    kept = sorted(fields[0] for fields in names if fields[1] in ("t", "T", "W"))
    (folder / "keep").write_text("\n".join(kept))
    run(folder, "objcopy", "-S", "--remove-section", ".comment", "--keep-symbols=keep", "debug", "mini")
    run(folder, "xz", "mini")
    run(folder, "strip", "--strip-all", "inlined")
    run(folder, "objcopy", "--add-section", ".gnu_debugdata=mini.xz", "inlined")
    return program


FORMS: dict[str, Callable[[Path], Path]] = {
    "plain": lambda folder: built(folder, "g++", "-g"),
    "split-5": lambda folder: built(folder, "g++", "-g", "-gsplit-dwarf"),
    "split-4": lambda folder: built(folder, "g++", "-gdwarf-4", "-gsplit-dwarf"),
    "clang-split-5": lambda folder: built(folder, "clang++", "-g", "-gsplit-dwarf"),
    "clang-split-4": lambda folder: built(folder, "clang++", "-g", "-gdwarf-4", "-gsplit-dwarf"),
    "split-beside": moved_with_its_units,
    "clang-line-tables": lambda folder: built(folder, "clang++", "-gline-tables-only"),
    "lines": lambda folder: built(folder, "g++", "-g1"),
    "dwz": shortened,
    "dwz-in-folder": lambda folder: shortened(folder, ".dwz/common"),
    "zlib": lambda folder: compressed(folder, "zlib"),
    "zstd": lambda folder: compressed(folder, "zstd"),
    "mini": mini,
}


def frames_of_gdb(program: Path) -> dict[int, list[Place]]:
    """Return the functions at each return address of the stack in which the program calls malloc."""
    orders = ["break main", "run", "break malloc", "continue", "backtrace"]
    shown = run(program.parent, "gdb", "-nx", "-batch", *(f"-ex={order}" for order in orders), program)
    found: dict[int, list[Place]] = {}
    for line in shown[shown.rindex("#0 ") :].splitlines()[1:]:
        frame = FRAME.fullmatch(line)
        assert frame is not None, line
        if frame["address"]:
            found[int(frame["address"].split()[0], 16)] = []
        number = int(frame["line"]) if frame["line"] else None
        [*found.values()][-1].append((bare(frame["function"]), number))
    return found


def file_offset(program: Path, address: int) -> int:
    with program.open("rb") as stream:
        return next(ELFFile(stream).address_offsets(address))


def bare(function: str | None) -> str:
    """Return the name without parameters and what is returned."""
    return re.sub(r"\(.*", "", function or "").split()[-1]


def frames_of_ours(program: Path, addresses: list[int], **options: object) -> dict[int, list[Place]]:
    module = Module(program, **options)  # type: ignore[arg-type]
    return {
        address: [
            (bare(place.function), place.line) for place in module.locate(file_offset(program, address))
        ]
        for address in addresses
    }


@pytest.mark.parametrize("form", FORMS)
def test_functions_and_lines_are_those_of_gdb(tmp_path: Path, form: str) -> None:
    """Inlined functions included."""
    program = FORMS[form](tmp_path)
    expected = frames_of_gdb(program)
    assert {name for places in expected.values() for name, _ in places} >= {"store<int>", "main"}
    found = frames_of_ours(program, [*expected])
    if form == "clang-line-tables":
        # GDB has the name in the debug information, where parameters and scopes are left out.
        found = {
            address: [(name.rpartition(":")[2], line) for name, line in places]
            for address, places in found.items()
        }
    assert found == expected


def test_functions_within_functions_are_found(tmp_path: Path) -> None:
    """Those of local classes and lambdas: compilers describe them within the function that has them."""
    (tmp_path / "local.cpp").write_text(LOCAL)
    program = tmp_path / "local"
    run(tmp_path, "g++", "-g", *FLAGS, "local.cpp", "-o", program)
    expected = frames_of_gdb(program)
    found = frames_of_ours(program, [*expected])
    lines = [[[line for _, line in frames] for frames in each.values()] for each in (found, expected)]
    assert len(lines[1][0]) > 1, "an inlined function within a local one"
    assert lines[0] == lines[1]


def test_what_dwz_shares_is_found_by_build_id(tmp_path: Path) -> None:
    """In a folder of debug files, when the name it had leads nowhere."""
    program = shortened(tmp_path)
    expected = frames_of_gdb(program)
    notes = run(tmp_path, "readelf", "-n", "common")
    build_id = notes.partition("Build ID: ")[2].split()[0]
    place = tmp_path / "debug/.build-id" / build_id[:2] / f"{build_id[2:]}.debug"
    place.parent.mkdir(parents=True)
    (tmp_path / "common").rename(place)
    assert frames_of_ours(program, [*expected], debug_folders=[]) != expected
    assert frames_of_ours(program, [*expected], debug_folders=[tmp_path / "debug"]) == expected


# What GCC 12 writes by DWARF 5 neither binutils' dwp nor LLVM's can package; GDB 13 crashes over LLVM's.
@pytest.mark.parametrize(("form", "tool"), [("split-4", "dwp"), ("clang-split-5", "llvm-dwp")])
def test_a_package_is_read_like_what_it_was_made_of(tmp_path: Path, form: str, tool: str) -> None:
    """Beside the program, whatever the name by which the recorder has that open."""
    program = FORMS[form](tmp_path)
    expected = frames_of_gdb(program)
    package(program, tool)
    assert frames_of_ours(program, [*expected]) == expected
    (tmp_path / "kept").mkdir()
    kept = shutil.copy(program, tmp_path / "kept/5")
    assert frames_of_ours(kept, [*expected], beside=tmp_path, name="inlined") == expected


def test_without_the_tool_a_packages_lines_are_missing_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Functions have the names of the table of symbols."""
    program = FORMS["split-4"](tmp_path)
    expected = frames_of_gdb(program)
    package(program, "dwp")
    monkeypatch.setenv("PATH", "")
    found = frames_of_ours(program, [*expected])
    assert {places[-1][0] for places in found.values()} == {"store<int>", "shop::Box::add", "main"}


@pytest.mark.parametrize("form", ["split-5", "dwz", "clang-line-tables", "mini", "package"])
def test_damage_costs_names_alone(tmp_path: Path, form: str) -> None:
    """Each form, cut or with bytes changed anywhere: whatever is answered, nothing is raised."""
    program = FORMS["split-4" if form == "package" else form](tmp_path)
    addresses = [*frames_of_gdb(program)]
    if form == "package":
        package(program, "dwp")
    offsets = [file_offset(program, address) for address in addresses]
    partner = {"split-5": "inlined.dwo", "dwz": "common", "package": "inlined.dwp"}.get(form, "inlined")
    content = (tmp_path / partner).read_bytes()
    # Each time a tool is started costs its time.
    n_places = 6 if form == "package" else 60
    first = 0 if partner != "inlined" else len(content) // 2
    for place in range(first, len(content), max(1, (len(content) - first) // n_places)):
        for damaged in (content[:place], content[:place] + b"\xff\x80\xfe" + content[place + 3 :]):
            (tmp_path / partner).write_bytes(damaged)
            module = Module(program, debug_folders=[])
            for offset in offsets:
                module.locate(offset)


def test_a_bomb_in_mini_debug_information_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Larger than the limit: its names are lost, nothing else."""
    monkeypatch.setattr("gadgetops.stacks.naming.symbols._MOST_MINI_BYTES", 1000)
    program = mini(tmp_path)
    addresses = [*frames_of_gdb(program)]
    names = [name for places in frames_of_ours(program, addresses).values() for name, _ in places]
    assert names == ["main"]
