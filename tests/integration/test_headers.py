"""Gadgets that are written against ig's headers, compiled with each way of getting them."""

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gadgetops.gadget.building.headers import MODULE

Gadgetops = Callable[..., Any]

SOURCE = """
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include <gadget/macros.h>
#include <gadget/buffer.h>
#include <gadget/types.h>

struct event { gadget_timestamp timestamp_raw; };
GADGET_TRACER_MAP(events, 4096);
GADGET_TRACER(things, events, event);

SEC("uprobe/libc:free")
int BPF_UPROBE(trace_free, void *block)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event)
		return 0;
	event->timestamp_raw = (__u64)block + PT_REGS_PARM6_CORE_SYSCALL(ctx);
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("uretprobe/libc:malloc")
int BPF_URETPROBE(trace_malloc_return, void *block)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
"""
METADATA = """
name: things
datasources: {things: {fields: {timestamp_raw: {annotations: {description: When}}}}}
"""
OURS = Path(__file__).parents[2] / "gadget/include"
BUILT = ("amd64: compiled", "arm64: compiled")
HAS_BPFTOOL = shutil.which("bpftool") is not None


@pytest.fixture
def gadget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gadget's folder, without any header."""
    monkeypatch.delenv("IG_SOURCE_PATH", raising=False)
    folder = tmp_path / "gadget"
    folder.mkdir()
    (folder / "program.bpf.c").write_text(SOURCE)
    (folder / "gadget.yaml").write_text(METADATA)
    return folder


def write_headers(include: Path, *, with_vmlinux: bool = True) -> Path:
    """Write a small set of headers, laid out as ig's, and return *include*."""
    (include / "gadget").mkdir(parents=True)
    for name in ("macros.h", "buffer.h", "types.h"):
        shutil.copy(OURS / "gadget" / name, include / "gadget" / name)
    for architecture in ("amd64", "arm64") if with_vmlinux else ():
        (include / "gadget" / architecture).mkdir()
        shutil.copy(OURS / "vmlinux.h", include / "gadget" / architecture / "vmlinux.h")
    return include


@pytest.fixture
def headers(tmp_path: Path) -> Path:
    """A source tree with headers below `include`."""
    write_headers(tmp_path / "ig" / "include")
    return tmp_path / "ig"


def digest_in(result: Any) -> str:
    """Return the digest of what was built."""
    assert result.status == 0, result.err
    return str(result.out.strip().rpartition("@")[2])


@pytest.mark.clang
class TestFolder:
    """A folder with headers, however it is named, gives one and the same image."""

    def test_each_way_to_name_it(
        self, gadget: Path, headers: Path, gadgetops: Gadgetops, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ways = [["--headers", headers], ["--headers", headers / "include"]]
        digests = {digest_in(gadgetops("build", gadget, *way)) for way in ways}
        includes = [headers / "include", headers / "include/gadget/amd64"]
        options = [word for each in includes for word in ("-I", each)]
        digests.add(digest_in(gadgetops("build", gadget, *options)))
        monkeypatch.setenv("IG_SOURCE_PATH", str(headers))
        digests.add(digest_in(gadgetops("build", gadget)))
        monkeypatch.delenv("IG_SOURCE_PATH")
        (gadget / "build.yaml").write_text("headers: ../ig\n")
        digests.add(digest_in(gadgetops("build", gadget)))
        assert len(digests) == 1

    def test_docs_compile_with_it_too(
        self, gadget: Path, headers: Path, gadgetops: Gadgetops, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(gadget)
        (gadget / "README.md").write_text("<!-- begin flowchart -->\n<!-- end flowchart -->\n")
        assert gadgetops("docs", "--headers", headers).status == 0
        assert "trace_free" in (gadget / "README.md").read_text()
        assert gadgetops("docs", "--check").status == 1

    def test_a_changed_header_compiles_again(self, gadget: Path, headers: Path, gadgetops: Gadgetops) -> None:
        gadgetops("build", gadget, "--headers", headers)
        assert "amd64: unchanged" in gadgetops("build", gadget, "--headers", headers).err
        types = headers / "include/gadget/types.h"
        types.write_text(types.read_text() + "/* changed */\n")
        assert "amd64: compiled" in gadgetops("build", gadget, "--headers", headers).err

    def test_a_folder_without_headers_is_refused_with_the_ways(
        self, gadget: Path, tmp_path: Path, gadgetops: Gadgetops
    ) -> None:
        for wanted in (tmp_path, tmp_path / "missing"):
            result = gadgetops("build", gadget, "--headers", wanted)
            assert result.status == 2 and "IG_SOURCE_PATH" in result.err, result.err


@pytest.mark.clang
class TestMissing:
    """What is missing is named with the ways to have it."""

    def test_ig_s_headers(self, gadget: Path, gadgetops: Gadgetops) -> None:
        (gadget / "program.bpf.c").write_text("#include <gadget/macros.h>\n")
        result = gadgetops("build", gadget, "--arch", "amd64")
        assert result.status == 1
        assert "fatal error: 'gadget/macros.h' file not found" in result.err
        assert all(way in result.err for way in ("--headers v", "--headers DIR", "--headers IMAGE"))

    def test_vmlinux_of_another_architecture(
        self, gadget: Path, tmp_path: Path, gadgetops: Gadgetops
    ) -> None:
        """It cannot be made of this machine's kernel."""
        write_headers(tmp_path / "include", with_vmlinux=False)
        other = "arm64" if os.uname().machine == "x86_64" else "amd64"
        result = gadgetops("build", gadget, "--headers", tmp_path, "--arch", other)
        assert result.status == 1 and "'vmlinux.h' file not found" in result.err
        assert "pass --headers" in result.err and "--btf" in result.err

    def test_the_first_error_is_shown_and_not_the_last(
        self, gadget: Path, headers: Path, gadgetops: Gadgetops
    ) -> None:
        broken = SOURCE.replace(
            "return 0;\n}\n\nchar", "return first_wrong;\n}\n" + "int x(void) { return y; }\n" * 9 + "char"
        )
        (gadget / "program.bpf.c").write_text(broken)
        result = gadgetops("build", gadget, "--headers", headers, "--arch", "amd64")
        assert "undeclared identifier 'first_wrong'" in result.err.splitlines()[1]

    def test_a_crash_shows_its_fatal_line(
        self,
        gadget: Path,
        headers: Path,
        gadgetops: Gadgetops,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """And not the hundred lines of stack after it."""
        clang = tmp_path / "clang"
        stack = "\n".join(f"#{n} 0x0 in_the_compiler" for n in range(100))
        said = (
            f"fatal error: error in backend: Incorrect flag\nPLEASE submit a bug report\nStack dump:\n{stack}"
        )
        clang.write_text(f"#!/bin/sh\n[ $1 = --version ] && exit\ncat >&2 <<E\n{said}\nE\nexit 70\n")
        clang.chmod(0o755)
        monkeypatch.setenv("CLANG", str(clang))
        result = gadgetops("build", gadget, "--headers", headers, "--arch", "amd64")
        assert "fatal error: error in backend: Incorrect flag" in result.err
        assert "in_the_compiler" not in result.err and "CLANG=" in result.err


@pytest.mark.clang
@pytest.mark.skipif(not HAS_BPFTOOL, reason="no `bpftool` on PATH")
class TestVmlinux:
    """Where there is no vmlinux.h, it is made of a kernel's BTF."""

    def test_of_this_machine_s_kernel(self, gadget: Path, tmp_path: Path, gadgetops: Gadgetops) -> None:
        write_headers(tmp_path / "include", with_vmlinux=False)
        own = "amd64" if os.uname().machine == "x86_64" else "arm64"
        result = gadgetops("build", gadget, "--headers", tmp_path, "--arch", own)
        assert result.status == 0, result.err

    def test_of_a_given_one(self, gadget: Path, tmp_path: Path, gadgetops: Gadgetops) -> None:
        """For whatever architecture somebody says that it is good for."""
        write_headers(tmp_path / "include", with_vmlinux=False)
        result = gadgetops("build", gadget, "--headers", tmp_path, "--btf", "/sys/kernel/btf/vmlinux")
        assert result.status == 1 or result.err.splitlines()[:2] == [*BUILT]
        own = "amd64" if os.uname().machine == "x86_64" else "arm64"
        assert f"{own}: compiled" in result.err

    def test_what_is_no_btf_is_named(self, gadget: Path, tmp_path: Path, gadgetops: Gadgetops) -> None:
        write_headers(tmp_path / "include", with_vmlinux=False)
        result = gadgetops("build", gadget, "--headers", tmp_path, "--btf", gadget / "gadget.yaml")
        assert result.status == 1 and "bpftool" in result.err


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module proxy in a folder, with a version of ig's module that holds a small set of headers."""
    if shutil.which("go") is None:
        pytest.skip("no `go` on PATH")
    include = write_headers(tmp_path / "module" / "include")
    versions = tmp_path / "proxy" / MODULE / "@v"
    versions.mkdir(parents=True)
    (versions / "list").write_text("v0.55.1\n")
    (versions / "v0.55.1.info").write_text(json.dumps({"Version": "v0.55.1", "Time": "2024-01-01T00:00:00Z"}))
    (versions / "v0.55.1.mod").write_text(f"module {MODULE}\n")
    with zipfile.ZipFile(versions / "v0.55.1.zip", "w") as archive:
        archive.writestr(f"{MODULE}@v0.55.1/go.mod", f"module {MODULE}\n")
        for path in sorted(include.rglob("*.h")):
            archive.write(path, f"{MODULE}@v0.55.1/include/{path.relative_to(include)}")
    for name, value in {
        "GOPROXY": f"file://{tmp_path}/proxy",
        "GONOSUMDB": "*",
        "GONOSUMCHECK": "1",
        "GOFLAGS": "-mod=mod -modcacherw",
        "GOMODCACHE": str(tmp_path / "modules"),
    }.items():
        monkeypatch.setenv(name, value)
    return versions


@pytest.mark.clang
class TestVersion:
    """A version of ig's module, fetched by go from the proxy that it is set to."""

    def test_it_is_fetched_and_gives_the_same_as_its_folder(
        self, gadget: Path, headers: Path, proxy: Path, gadgetops: Gadgetops
    ) -> None:
        """The object does not tell where the headers lay, but by the module's name."""
        built = gadgetops("build", gadget, "--headers", "v0.55.1", "-o", gadget / "out")
        digest_in(built)
        assert digest_in(gadgetops("build", gadget, "--headers", f"{MODULE}@v0.55.1")) == digest_in(built)
        assert str(proxy.parents[4]).encode() not in (gadget / "out/amd64.bpf.o").read_bytes()

    def test_build_yaml_may_pin_its_sum(self, gadget: Path, proxy: Path, gadgetops: Gadgetops) -> None:
        done = subprocess.run(
            ["go", "mod", "download", "-json", f"{MODULE}@v0.55.1"],
            cwd=gadget,
            capture_output=True,
            check=True,
        )
        right = json.loads(done.stdout)["Sum"]
        (gadget / "build.yaml").write_text(f"headers: v0.55.1 {right}\n")
        digest_in(gadgetops("build", gadget))
        wrong = "h1:" + hashlib.sha256(b"").hexdigest()
        (gadget / "build.yaml").write_text(f"headers: v0.55.1 {wrong}\n")
        result = gadgetops("build", gadget)
        assert result.status == 1 and wrong in result.err and right in result.err

    def test_a_proxy_that_refuses_is_named_with_the_other_ways(
        self, gadget: Path, proxy: Path, gadgetops: Gadgetops
    ) -> None:
        result = gadgetops("build", gadget, "--headers", "v0.1.2")
        assert result.status == 1
        assert "v0.1.2" in result.err and "GOPROXY" in result.err and "--headers DIR" in result.err
