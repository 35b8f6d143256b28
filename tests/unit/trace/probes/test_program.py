"""Programs are found as the kernel, execvp(3) and the dynamic linker find them."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from gadgetops.errors import NoSuchProgram, NotExecutable
from gadgetops.trace.probes.program import (
    Executed,
    executed_by,
    find_program,
    interpreter_line,
    locate,
    objects_of,
)

USES = "int used(void);\nint main(void) { return used() - 1; }\n"
USED = "int used(void) { return 1; }\n"
# Any byte but a slash and a zero; the last is no text in UTF-8.
NAMES = [
    "a b",
    "a => b",
    "a (0x1)\n\tb",
    "a\nb",
    "a\u2028b",
    "a\u0085b",
    "a\fb",
    "a\\012b",
    "a (deleted)",
    "a\udcffb",
]


def script(folder: Path, first_line: bytes, *, name: str = "script", mode: int = 0o755) -> Path:
    """A text that begins so."""
    path = folder / name
    path.write_bytes(first_line)
    path.chmod(mode)
    return path


def names(executed: list[Executed]) -> list[str]:
    return [each.path.name for each in executed]


def real(*programs: str) -> list[Path]:
    return [Path(program).resolve() for program in programs]


def runs_plainly(path: Path) -> bool:
    """Whether execvp(3), as env(1) calls it, runs *path*."""
    return subprocess.run(["env", path], capture_output=True, check=False).returncode == 0


def with_library(folder: Path, *options: str) -> tuple[Path, Path]:
    """A program in `bin` with a library in `lib`, both in *folder*."""
    (folder / "bin").mkdir(parents=True)
    (folder / "lib").mkdir()
    (folder / "x.c").write_text(USED)
    (folder / "p.c").write_text(USES)
    library, program = folder / "lib/libx.so", folder / "bin/prog"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, folder / "x.c"], check=True)
    link = ["-L", library.parent, "-lx", *options]
    subprocess.run(["gcc", "-o", program, folder / "p.c", *link], check=True)
    return program, library


def objects(program: Path) -> list[Path]:
    return objects_of(executed_by([str(program)])[-1])


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"#!/bin/sh\n", ("/bin/sh", None)),
        (b"#! \t/bin/sh \t\n", ("/bin/sh", None)),
        (b"#!/bin/sh", ("/bin/sh", None)),
        (b"#!/bin/sh -e -u\n", ("/bin/sh", "-e -u")),
        (b"#!/bin/sh  a b  \n", ("/bin/sh", "a b")),
        (b"#!/bin/sh\0 x\n", ("/bin/sh", None)),
        (b"#!/bin/sh a\0b\n", ("/bin/sh", "a")),
        (b"#!/bin/sh\r\n", ("/bin/sh\r", None)),
        (b"#!/usr/bin/env -S python3 -u\n", ("/usr/bin/env", "-S python3 -u")),
        (b"#!/bin/\xff\n", ("/bin/\udcff", None)),
        (b"#!\n", None),
        (b"#! \t \n", None),
        (b"#!", None),
        (b"#", None),
        (b"", None),
        (b"\n#!/bin/sh\n", None),
        # The name is whole, the line is not.
        (b"#!/bin/sh " + b"a" * 246, ("/bin/sh", "a" * 245)),
        (b"#!/" + b"a" * 252 + b"\n", ("/" + "a" * 252, None)),
        (b"#!/" + b"a" * 253, None),
        (b"#!" + b" " * 254, None),
    ],
)
def test_the_first_line_is_read_as_the_kernel_reads_it(head: bytes, found: tuple[str, str | None]) -> None:
    """fs/binfmt_script.c, with 256 bytes."""
    assert interpreter_line(head[:256]) == found


@pytest.mark.parametrize("n_blanks", [0, 235, 236, 237, 245, 300])
def test_a_long_first_line_runs_if_and_only_if_the_kernel_runs_it(tmp_path: Path, n_blanks: int) -> None:
    """Where it does not, a shell runs the text."""
    path = script(tmp_path, b"#!" + b" " * n_blanks + b"/usr/bin/true" + b" " * 9)
    assert runs_plainly(path)
    last = executed_by([str(path)])[-1].path.resolve()
    assert last in real("/usr/bin/true", "/bin/sh")


@pytest.mark.parametrize(
    ("first_line", "programs"),
    [
        (b"#!/usr/bin/env sh\n", ["script", "env", "sh"]),
        (b"#!/usr/bin/env -S sh -e\n", ["script", "env", "sh"]),
        (b"#!/usr/bin/env -S -i A=b sh -e\n", ["script", "env", "sh"]),
        (b"#!/usr/bin/env -S -u A -C / env -vS 'sh -e'\n", ["script", "env", "env", "sh"]),
        (b"#!/usr/bin/env no-such-program\n", ["script", "env"]),
        (b"#!/bin/sh\n", ["script", "sh"]),
        (b"#!\necho\n", ["script", "sh"]),
        (b"echo\n", ["script", "sh"]),
        (b"", ["script", "sh"]),
    ],
)
def test_a_script_is_followed_to_what_runs_it(tmp_path: Path, first_line: bytes, programs: list[str]) -> None:
    assert names(executed_by([str(script(tmp_path, first_line))])) == programs


def test_the_arguments_of_env_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its assignments are the environment of what it starts, PATH among them."""
    script(tmp_path, b"#!/bin/cat\n", name="own")
    monkeypatch.chdir("/")
    executed = executed_by(["env", f"PATH={tmp_path}", "A=1", "own", "B=2"])
    assert names(executed) == ["env", "own", "cat"]
    assert {key: executed[-1].environment.get(key) for key in "AB"} == {"A": "1", "B": None}
    assert names(executed_by(["env", "-", "cat"])) == ["env", "cat"]
    assert names(executed_by(["env"])) == ["env"]


def test_a_script_of_a_script_is_followed(tmp_path: Path) -> None:
    """As far as the kernel does: five of them."""
    path = Path("/bin/true")
    for depth in range(5):
        path = script(tmp_path, b"#!%s\n" % os.fsencode(path), name=f"s{depth}")
    assert runs_plainly(path)
    assert executed_by([str(path)])[-1].path == Path("/bin/true")
    path = script(tmp_path, b"#!%s\n" % os.fsencode(path), name="s5")
    assert not runs_plainly(path)
    with pytest.raises(NotExecutable, match="Too many levels"):
        executed_by([str(path)])


@pytest.mark.parametrize(
    ("content", "mode", "error", "reason"),
    [
        (b"#!/no/such\n", 0o755, NoSuchProgram, "names the interpreter '/no/such', which does not exist"),
        (b"#!/bin/sh\r\n", 0o755, NoSuchProgram, r"'/bin/sh\\r', which does not exist"),
        (b"#!/etc/passwd\n", 0o755, NotExecutable, "'/etc/passwd', which may not be executed"),
        (b"#!/tmp\n", 0o755, NotExecutable, "'/tmp', which may not be executed"),
        (b"echo\n", 0o644, NotExecutable, "its mode does not let it be executed"),
        (b"\x01\x02\0\x03\n", 0o755, NotExecutable, "exec format error"),
    ],
)
def test_what_the_kernel_refuses_is_refused_with_the_true_reason(
    tmp_path: Path, content: bytes, mode: int, error: type[NoSuchProgram | NotExecutable], reason: str
) -> None:
    """And a shell's status."""
    path = script(tmp_path, content, mode=mode)
    with pytest.raises(error, match=reason) as raised:
        executed_by([str(path)])
    plain = subprocess.run(["bash", "-c", '"$0"', path], capture_output=True, check=False)
    assert raised.value.exit_status == plain.returncode
    assert raised.value.program == str(path)


def test_a_program_without_its_dynamic_linker_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.c").write_text("int main(void) { return 0; }\n")
    program = tmp_path / "prog"
    link = "-Wl,--dynamic-linker=/no/ld.so"
    subprocess.run(["gcc", "-o", program, tmp_path / "p.c", link], check=True)
    with pytest.raises(NoSuchProgram, match=r"the dynamic linker '/no/ld\.so', which does not exist"):
        executed_by([str(program)])


def test_programs_are_found_on_path_as_execvp_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that may not be executed is passed over; an empty folder is the current one."""
    for folder, mode in (("a", 0o644), ("b", 0o755)):
        (tmp_path / folder).mkdir()
        script(tmp_path / folder, b"#!/bin/sh\n", name="tool", mode=mode)
    (tmp_path / "a/folder").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/none:{tmp_path}/a:{tmp_path}/b")
    assert locate("tool") == f"{tmp_path}/b/tool"
    monkeypatch.chdir(tmp_path / "b")
    monkeypatch.setenv("PATH", f"{tmp_path}/a:")
    assert find_program("tool") == tmp_path / "b/tool"
    assert locate("./tool") == "./tool"
    monkeypatch.setenv("PATH", f"{tmp_path}/a")
    with pytest.raises(NotExecutable, match="its mode"):
        locate("tool")
    with pytest.raises(NotExecutable, match="a directory"):
        locate("folder")
    with pytest.raises(NoSuchProgram, match="no-such-program: no such program"):
        locate("no-such-program")
    (tmp_path / "b/gone").symlink_to("nowhere")
    with pytest.raises(NoSuchProgram, match="a symbolic link to what does not exist"):
        locate("./gone")


@pytest.mark.parametrize("name", NAMES)
def test_libraries_are_found_in_folders_of_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    program, library = with_library(tmp_path / "plain", "-Wl,-rpath,$ORIGIN/../lib")
    shutil.copytree(tmp_path / "plain", folder)
    program, library = folder / "bin/prog", folder / "lib/libx.so"
    assert subprocess.run([program], check=False).returncode == 0
    found = objects(program)
    assert found[:2] == [program, library]
    assert "libc.so.6" in [path.name for path in found]


def test_origin_is_that_of_the_file_behind_a_link(tmp_path: Path) -> None:
    """As with `java`, which lies elsewhere than on PATH; DT_RPATH and DT_RUNPATH alike."""
    for kind in ("--enable-new-dtags", "--disable-new-dtags"):
        program, library = with_library(tmp_path / kind, f"-Wl,{kind},-rpath,$ORIGIN/../lib")
        link = tmp_path / f"link{kind}"
        link.symlink_to(program)
        assert objects(link)[:2] == [program, library]


def test_the_environment_says_where_libraries_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths count from the current folder; what env(1) sets counts for what it starts."""
    program, library = with_library(tmp_path)
    assert objects(program) == [program]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LD_LIBRARY_PATH", "lib")
    assert objects(program)[:2] == [program, library]
    monkeypatch.delenv("LD_LIBRARY_PATH")
    [_, executed] = executed_by(["env", "LD_LIBRARY_PATH=lib", str(program)])
    assert objects_of(executed)[:2] == [program, library]
    monkeypatch.setenv("LD_PRELOAD", "lib/libx.so")
    assert library in objects(Path("/bin/true"))


def test_a_program_that_gains_rights_is_not_given_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dynamic linker leaves out LD_PRELOAD there: ld.so(8), secure-execution mode."""
    program, library = with_library(tmp_path, "-Wl,-rpath,$ORIGIN/../lib")
    other = shutil.copy(library, tmp_path / "other.so")
    monkeypatch.setenv("LD_PRELOAD", str(other))
    assert Path(other) in objects(program)
    os.chown(program, 65534, 65534)
    program.chmod(stat.S_ISUID | 0o755)
    assert Path(other) not in objects(program)


def test_musl_lists_its_libraries_otherwise(tmp_path: Path) -> None:
    (tmp_path / "p.c").write_text("int main(void) { return 0; }\n")
    subprocess.run(["musl-gcc", "-o", tmp_path / "prog", tmp_path / "p.c"], check=True)
    assert {"prog", "libc.so"} <= {path.resolve().name for path in objects(tmp_path / "prog")}


def test_a_static_program_has_no_libraries(tmp_path: Path) -> None:
    (tmp_path / "p.c").write_text("int main(void) { return 0; }\n")
    for option in ("-static", "-static-pie"):
        subprocess.run(["gcc", option, "-o", tmp_path / "prog", tmp_path / "p.c"], check=True)
        assert objects(tmp_path / "prog") == [tmp_path / "prog"]
