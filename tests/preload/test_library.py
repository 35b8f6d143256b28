"""The library as it is compiled: for both architectures, linked to nothing, laid out as Python reads it."""

import re
import subprocess
from pathlib import Path

import pytest

from gadgetops.trace.preload import layout
from gadgetops.trace.preload.library import MACHINES, NAME, compile_library, make_libraries

ROOT = Path(__file__).parents[2]
FROM_C_LIBRARY = {
    "__environ",
    "__errno_location",
    "clock_gettime",
    "dl_iterate_phdr",
    "getauxval",
    "memcmp",
    "memcpy",
    "memset",
    "strlen",
}
"""In glibc since 2.16 and in musl, in the C library itself."""
STRUCTS = {
    "reader_page": layout.READER_FIELDS,
    "writer_page": layout.WRITER_FIELDS,
    "event": layout.EVENT_FIELDS,
}


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a wheel has them."""
    folder = tmp_path_factory.mktemp("libraries")
    make_libraries(ROOT, folder)
    return folder


@pytest.mark.parametrize("machine", MACHINES)
def test_it_needs_nothing_but_what_each_c_library_has(libraries: Path, machine: str) -> None:
    """No library is named, and no symbol version."""
    library = str(libraries / machine / NAME)
    symbols = subprocess.check_output(["readelf", "--dyn-syms", "--wide", library], text=True)
    needed = set(re.findall(r"GLOBAL +DEFAULT +UND (\S+)", symbols))
    assert needed <= FROM_C_LIBRARY
    assert "@" not in symbols
    assert "NEEDED" not in subprocess.check_output(["readelf", "--dynamic", library], text=True)


def test_equal_sources_give_equal_files(libraries: Path, tmp_path: Path) -> None:
    """Wherever they are compiled to."""
    compile_library(ROOT, "x86_64", tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == (libraries / "x86_64" / NAME).read_bytes()


def test_what_is_shared_is_where_python_looks_for_it(tmp_path: Path) -> None:
    """Offsets, sizes, and the numbers of operations and notes, as the C compiler has them."""
    lines = ["#include <stdio.h>", '#include "numbers.h"', "int main(void) {"]
    asked = [(struct, name) for struct, fields in STRUCTS.items() for name in fields]
    declarations = ['#include "layout.h"']
    for struct, name in asked:
        declarations.append(f"const long {struct}_{name} = offsetof(struct {struct}, {name});")
        lines.append(f'extern const long {struct}_{name}; printf("%ld\\n", {struct}_{name});')
    constants = {
        "SHARED_MAGIC": layout.MAGIC,
        "SHARED_VERSION": layout.VERSION,
        "PATH_BYTES": layout.PATH_BYTES,
        "sizeof(struct event)": layout.EVENT_BYTES,
        "sizeof(struct stack_path)": layout.PATH_RECORD_BYTES,
        "NOTE_START": layout.START,
        "NOTE_FORK": layout.FORK,
        "NOTE_MAPPING": layout.MAPPING,
        "NOTE_EXEC": layout.EXEC,
        "NOTE_EXEC_FAILED": layout.EXEC_FAILED,
        "NOTE_UNSEEN": layout.UNSEEN,
        **{f"OPERATION_{name}": number for number, name in enumerate(layout.OPERATIONS)},
    }
    for index, constant in enumerate(constants):
        declarations.append(f"const long constant_{index} = (long)({constant});")
        lines.append(f'extern const long constant_{index}; printf("%ld\\n", constant_{index});')
    (tmp_path / "numbers.h").write_text("")
    (tmp_path / "numbers.c").write_text("\n".join(declarations))
    (tmp_path / "main.c").write_text("\n".join([*lines, "}"]))
    sources = [str(tmp_path / name) for name in ("main.c", "numbers.c")]
    program = tmp_path / "numbers"
    subprocess.run(["gcc", f"-I{ROOT / 'preload'}", *sources, "-o", str(program)], check=True)
    found = [*map(int, subprocess.check_output([str(program)], text=True).split())]
    expected = [STRUCTS[struct][name][0] for struct, name in asked]
    assert found == [*expected, *constants.values()]
