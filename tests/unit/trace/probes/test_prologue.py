"""Which instruction of a function is probed."""

import shutil
import subprocess
from pathlib import Path

import pytest

from gadgetops.trace.probes.executable import read_executable
from gadgetops.trace.probes.prologue import Place, is_forwarder, places_in

EMULATED = "the first instruction that the kernel emulates"
AT_SYMBOL = "the symbol: the kernel emulates it"
NOT_NULL = "the kernel emulates it, and free(NULL) does not come here"
IF_NULL = "test %rdi,%rdi\nje 1f"
ARM64 = "aarch64-linux-gnu-gcc"


def built(folder: Path, body: str, *, name: str = "f", compiler: str = "gcc", more: str = "") -> Path:
    """A library with one function, and what stands after it."""
    text = f".text\n.globl {name}\n.type {name},%function\n{name}:\n{body}\n.size {name},.-{name}\n{more}\n"
    (folder / "a.s").write_text(text + '.section .note.GNU-stack,"",%progbits\n')
    subprocess.run([compiler, "-nostdlib", "-shared", folder / "a.s", "-o", folder / "a.so"], check=True)
    return folder / "a.so"


def chosen(library: Path, as_name: str, name: str = "f", *, at_symbol: bool = False) -> Place:
    """Where a probe of the function would go if it did what the C function *as_name* does."""
    executable = read_executable(library)
    (function,) = executable.functions(name, exported_only=True)
    return places_in(executable, ((function, as_name),), at_symbol=at_symbol)[function]


@pytest.mark.parametrize(
    ("as_name", "body", "offset", "reason"),
    [
        pytest.param("malloc", "push %r12\nret", 0, AT_SYMBOL, id="first push"),
        pytest.param("malloc", "push %rbp\nret", 0, AT_SYMBOL, id="push of rbp"),
        pytest.param("malloc", "endbr64\npush %rbp\nret", 4, EMULATED, id="landing pad"),
        pytest.param("malloc", "jmp g", 0, AT_SYMBOL, id="jump"),
        pytest.param("malloc", "nop\nret", 0, AT_SYMBOL, id="nop"),
        pytest.param("malloc", "mov %rdi,%rax\ncmp $9,%rdi\nja g\nret", 7, EMULATED, id="condition"),
        pytest.param("malloc", "mov %rdi,%rsi\npush %rbp\nret", 3, EMULATED, id="no second argument"),
        pytest.param("malloc", "mov %rdi,%rax\ncall g\nret", 3, EMULATED, id="call"),
        pytest.param("free", f"{IF_NULL}\npush %rbp\nret\n1: ret", 5, NOT_NULL, id="not NULL"),
        pytest.param(
            "free", "test %rdi,%rdi\nje 1f\nlea 1(%rdi),%rdi\npush %rbp\nret\n1: ret", 3, EMULATED, id="kept"
        ),
        pytest.param(
            "free", "test %rdi,%rdi\njne 1f\nret\n1: push %rbp\nret", 3, EMULATED, id="other way round"
        ),
        pytest.param(
            "malloc", "test %rdi,%rdi\nje 1f\npush %rbp\nret\n1: ret", 3, EMULATED, id="no way is left out"
        ),
        pytest.param("free", "test %rsi,%rsi\nje 1f\npush %rbp\nret\n1: ret", 3, EMULATED, id="another test"),
    ],
)
def test_the_first_emulated_instruction_is_taken(
    tmp_path: Path, as_name: str, body: str, offset: int, reason: str
) -> None:
    place = chosen(built(tmp_path, body, more="g: ret"), as_name)
    assert (place.offset_bytes, place.reason) == (offset, reason)


@pytest.mark.parametrize(
    ("as_name", "body", "stopped_by"),
    [
        pytest.param("calloc", "mov %rdi,%rsi\npush %rbp\nret", "mov rsi, rdi", id="argument overwritten"),
        pytest.param("malloc", "xor %edi,%edi\npush %rbp\nret", "xor edi, edi", id="part of an argument"),
        pytest.param("free", "sub $8,%rsp\npush %rbp\nret", "sub rsp, 8", id="stack pointer moved"),
        pytest.param("munmap", "mov $11,%eax\nsyscall\njae g\nret", "syscall", id="system call"),
        pytest.param("malloc", "mov (%rsp),%rax\njmp *%rax", "jmp rax", id="indirect jump"),
        pytest.param("malloc", "lea 1(%rdi),%rax\nret\npush %rbp", "ret", id="return"),
        pytest.param("other", "mov $1,%r9d\npush %rbp\nret", "mov r9d, 1", id="unknown function"),
        pytest.param("malloc", "mov %rdi,%rax\n1: mov (%rax),%rax\ntest %rax,%rax\njne 1b\nret",
                     "mov rax, qword ptr [rax], which is jumped to", id="loop"),
        pytest.param("free", "mov %rdi,%rax\nmiddle: push %rbp\nret\n.zero 300,0x90\nend: jmp middle",
                     "push rbp, which is jumped to", id="entry in the middle"),
    ],
)  # fmt: skip
def test_without_such_an_instruction_it_is_the_symbol(
    tmp_path: Path, as_name: str, body: str, stopped_by: str
) -> None:
    place = chosen(built(tmp_path, body, more="g: ret"), as_name)
    assert place.offset_bytes == 0
    assert place.reason == f"the symbol: nothing that the kernel emulates before {stopped_by}"


def test_a_jump_from_another_function_is_an_entry(tmp_path: Path) -> None:
    more = ".type g,%function\ng: .zero 300,0x90\njmp middle\n.size g,.-g"
    place = chosen(built(tmp_path, "mov %rdi,%rax\nmiddle: push %rbp\nret", more=more), "free")
    assert place.reason.endswith("push rbp, which is jumped to")


def test_another_functions_beginning_is_an_entry(tmp_path: Path) -> None:
    body = "mov %rdi,%rax\n.globl g\n.type g,%function\ng: push %rbp\nret\n.size g,.-g"
    assert chosen(built(tmp_path, body), "free").reason.endswith("push rbp, which is jumped to")


def test_the_symbol_on_request(tmp_path: Path) -> None:
    place = chosen(built(tmp_path, "mov %rdi,%rax\npush %rbp\nret"), "free", at_symbol=True)
    assert place == Place(0, "mov rax, rdi", "the symbol: as asked for")


def test_a_function_of_unknown_length_is_probed_at_its_symbol(tmp_path: Path) -> None:
    library = built(tmp_path, "ret", more=".globl g\n.type g,%function\ng: mov %rdi,%rax\npush %rbp\nret")
    assert chosen(library, "free", "g").reason == "the symbol: the file does not say how long the function is"


@pytest.mark.skipif(not shutil.which(ARM64), reason=f"no {ARM64}")
@pytest.mark.parametrize(
    ("as_name", "body", "offset", "reason"),
    [
        ("free", "cbz x0, 1f\nstp x29, x30, [sp, #-16]!\nret\n1: ret", 0, AT_SYMBOL),
        ("malloc", "adrp x8, g\nret", 0, AT_SYMBOL),
        ("malloc", "bti c\nmov x1, x0\nb g", 8, EMULATED),
        ("malloc", "mov x8, x0\ntbnz x0, #63, g\nret", 4, EMULATED),
        ("malloc", "mov x8, x0\nldr x9, g\nret", 4, EMULATED),
        ("malloc", "stp x29, x30, [sp, #-16]!\nb g", 0, "before stp x29, x30, [sp, #-0x10]!"),
        ("malloc", "paciasp\nb g", 0, "before paciasp"),
        ("malloc", "mov x9, x30\nb g", 0, "before mov x9, x30"),
        ("calloc", "mov x1, x0\nb g", 0, "before mov x1, x0"),
        ("malloc", "mov w0, w2\nb g", 0, "before mov w0, w2"),
        ("munmap", "mov x8, #215\nsvc #0\nb g", 0, "before svc #0"),
    ],
)
def test_the_same_for_arm64(tmp_path: Path, as_name: str, body: str, offset: int, reason: str) -> None:
    place = chosen(built(tmp_path, body, compiler=ARM64, more="g: ret"), as_name)
    assert place.offset_bytes == offset
    assert place.reason.endswith(reason)


@pytest.mark.parametrize(
    ("path", "name", "offset", "instruction"),
    [
        ("/lib/x86_64-linux-gnu/libc.so.6", "free", 9, "push rbp"),
        ("/lib/x86_64-linux-gnu/libc.so.6", "malloc", 0, "push r12"),
        ("/lib/x86_64-linux-gnu/libc.so.6", "posix_memalign", 7, "push r12"),
        ("/lib/x86_64-linux-gnu/libc.so.6", "munmap", 0, "mov eax, 0xb"),
        ("/lib/ld-musl-x86_64.so.1", "free", 0, "jmp"),
        ("/usr/lib/x86_64-linux-gnu/libjemalloc.so.2", "malloc", 7, "ja"),
        ("/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4", "free", 10, "jne"),
        ("/usr/lib/x86_64-linux-gnu/libmimalloc.so.2", "free", 6, "je"),
        ("/usr/aarch64-linux-gnu/lib/libc.so.6", "free", 0, "cbz x0"),
    ],
)
def test_real_libraries_of_debian_12(path: str, name: str, offset: int, instruction: str) -> None:
    """As their disassembly shows."""
    if not Path(path).exists():
        pytest.skip(f"no {path}")
    place = chosen(Path(path), name, name)
    assert place.offset_bytes == offset
    assert place.instruction.startswith(instruction)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("jmp g", True),
        ("endbr64\njmp g", True),
        ("sub $8,%rsp\ncall g@PLT\nadd $8,%rsp\nret", True),
        ("sub $8,%rsp\ncall 1f\nadd $8,%rsp\nret\n1: ret", False),
        ("test %rdi,%rdi\nret", False),
    ],
)
def test_a_release_that_only_hands_on_is_told_from_one_that_works(
    tmp_path: Path, body: str, *, expected: bool
) -> None:
    executable = read_executable(built(tmp_path, body, more=".globl g\ng: ret"))
    (function,) = executable.functions("f", exported_only=True)
    assert is_forwarder(executable, function, {0}) is expected
