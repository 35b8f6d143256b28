"""Other builders than the local one: a container of a real engine, and ig. What comes out is the same."""

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from docker.models.containers import Container
from services.dockerd import Engine, docker_engine, libraries_of

from gadgetops.gadget.building.container_build import ContainerTools
from gadgetops.oci.layout.layout import Layout

__all__ = ["docker_engine"]

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
LLVM = Path("/usr/lib/llvm-14")
HEADERS = [
    Path("/usr/include") / name
    for name in ("bpf", "linux", "asm-generic", f"{os.uname().machine}-linux-gnu/asm")
]
WRAPPER = '#!/bin/sh\nexec /usr/lib/llvm-14/bin/{} "$@"\n'
IMAGE = "builders/clang-14"
Gadgetops = Callable[..., "Result"]  # noqa: F821 - the class is conftest's

pytestmark = pytest.mark.clang


@pytest.fixture(scope="module")
def clang_image(docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of this machine's clang 14: what any distribution's image with clang is."""
    missing = [path for path in (LLVM / "bin/clang", Path("/bin/busybox"), *HEADERS) if not path.exists()]
    if missing:
        pytest.skip(f"no {missing[0]}")
    folder = tmp_path_factory.mktemp("image")
    files = {"/bin/sh": Path("/bin/busybox")}
    for tool in ("clang", "llvm-strip"):
        (folder / tool).write_text(WRAPPER.format(tool))
        (folder / tool).chmod(0o755)
        files[f"/usr/bin/{tool}"] = folder / tool
        files[f"{LLVM}/bin/{tool}"] = LLVM / "bin" / tool
        files |= libraries_of(LLVM / "bin" / tool)
    resources = next((LLVM / "lib/clang").glob("*/include"))
    files |= {str(path): path for path in (resources, *HEADERS)}
    return docker_engine.make_image(IMAGE, files)


@pytest.fixture(scope="module")
def make_image(docker_engine: Engine, clang_image: str) -> str:
    """The image with make and sleep in it, as ig needs them."""
    make = Path(shutil.which("make") or "/usr/bin/make")
    base = docker_engine.client.containers.create(f"{clang_image}:latest", "sh")
    try:
        # Since 0.48.1 ig has the container sleep, and runs clang in it itself.
        sleep = {"/usr/bin/sleep": Path("/bin/busybox")}
        for path, source in {"/usr/bin/make": make, **libraries_of(make), **sleep}.items():
            _put(base, source, path)
        base.commit("builders/make")
    finally:
        base.remove()
    return "builders/make"


@pytest.fixture
def gadget(tmp_path: Path) -> Path:
    """A gadget that may be changed."""
    return shutil.copytree(DATA / "gadgets" / "minimal", tmp_path / "gadget")


@pytest.fixture
def in_container(
    docker_engine: Engine, clang_image: str, gadgetops: Gadgetops, monkeypatch: pytest.MonkeyPatch
) -> Gadgetops:
    """Build in a container of the image."""
    monkeypatch.setenv("DOCKER_HOST", docker_engine.address)
    return lambda *arguments: gadgetops(
        "build", "--builder", "docker", "--builder-image", f"{clang_image}:latest", *arguments
    )


def change(path: Path, old: str, new: str) -> None:
    """Replace *old*, which must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_container_makes_what_the_same_clang_makes_here(
    gadget: Path,
    gadgetops: Gadgetops,
    in_container: Gadgetops,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The same digest, files of the caller, nothing new in the source, and no container left."""
    monkeypatch.setenv("CLANG", str(LLVM / "bin/clang"))
    monkeypatch.setenv("LLVM_STRIP", str(LLVM / "bin/llvm-strip"))
    local = gadgetops("build", gadget)
    before = sorted(gadget.rglob("*"))
    there = in_container(gadget, "--output", tmp_path / "objects")
    assert (there.status, there.out) == (0, local.out), there.err
    assert there.err == "amd64: compiled\narm64: compiled\n"
    assert sorted(gadget.rglob("*")) == before
    owners = {path.stat().st_uid for path in (tmp_path / "objects").iterdir()}
    assert owners == {os.geteuid()}
    assert in_container(gadget).err == "amd64: unchanged\narm64: unchanged\n"


def test_a_source_that_does_not_compile_is_shown_as_a_local_one_is(
    gadget: Path, gadgetops: Gadgetops, in_container: Gadgetops, docker_engine: Engine
) -> None:
    change(gadget / "program.bpf.c", "return 0;", "retrun 0;")
    there = in_container(gadget)
    assert there.status == 1
    assert there.err == gadgetops("build", gadget).err
    assert docker_engine.client.containers.list(all=True) == []


@pytest.fixture(scope="module")
def nosy_image(docker_engine: Engine, clang_image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image with a compiler that fails if it can write to the source, or sees a network."""
    wrapper = tmp_path_factory.mktemp("nosy") / "clang"
    wrapper.write_text(
        "#!/bin/sh\ntouch /gadget/written && exit 1\n"
        '[ "$(ls /sys/class/net)" = lo ] || exit 2\n'
        '[ "$(id -u)" = "$(stat -c %u /gadget-output)" ] || exit 3\n'
        'echo "I am $(id -u):$(id -g)" >&2\nexec /usr/lib/llvm-14/bin/clang "$@"\n'
    )
    wrapper.chmod(0o755)
    base = docker_engine.client.containers.create(f"{clang_image}:latest", "sh")
    try:
        _put(base, wrapper, "/usr/bin/clang")
        for applet in ("touch", "ls", "id", "stat"):
            _put(base, Path("/bin/busybox"), f"/bin/{applet}")
        base.commit("builders/nosy")
    finally:
        base.remove()
    return "builders/nosy:latest"


def test_a_container_has_no_network_and_cannot_write_to_the_source(
    gadget: Path, in_container: Gadgetops, nosy_image: str
) -> None:
    done = in_container(gadget, "--arch", "amd64", "--builder-image", nosy_image)
    assert done.status == 0, done.err
    assert "Read-only file system" in done.err
    assert not (gadget / "written").exists()


def test_it_compiles_as_who_asks_for_it(
    gadget: Path, docker_engine: Engine, nosy_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not as root, and still what it made can be read."""
    monkeypatch.setenv("DOCKER_HOST", docker_engine.address)
    tools = ContainerTools.open(nosy_image, "never")
    options = ["-target", "bpf", "-g", "-O2", "-Iinclude"]
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    monkeypatch.setattr(os, "getegid", lambda: 65534)
    output = tools.compile(gadget, Path("program.bpf.c"), options)
    assert "I am 65534:65534" in output.messages
    assert output.content.startswith(b"\x7fELF")


def _put(container: Container, source: Path, path: str) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(source.resolve(), path.lstrip("/"))
    container.put_archive("/", stream.getvalue())


def test_the_pull_policy_says_whether_a_registry_is_asked(
    gadget: Path, gadgetops: Gadgetops, in_container: Gadgetops
) -> None:
    """What is there is used unless the policy is always; what is not there is fetched unless it is never."""
    # Nothing listens on port 1.
    elsewhere = "127.0.0.1:1/clang:v1"
    for policy, problem in (("missing", f"pulling {elsewhere}: "), ("never", f"{elsewhere}: no such image")):
        done = in_container(gadget, "--builder-image", elsewhere, "--pull", policy)
        assert done.status == 1
        assert f"gadgetops: error: container engine: {problem}" in done.err
    assert in_container(gadget, "--arch", "amd64", "--pull", "never").status == 0
    assert "pulling" in in_container(gadget, "--pull", "always").err


def test_an_image_without_a_compiler_is_named(
    gadget: Path, docker_engine: Engine, in_container: Gadgetops
) -> None:
    docker_engine.make_image("builders/empty", {"/bin/sh": Path("/bin/busybox")})
    done = in_container(gadget, "--builder-image", "builders/empty:latest")
    assert done.status == 1
    assert done.err.endswith("builders/empty:latest has no such tool: pass another --builder-image\n")


def test_without_an_engine_that_is_said(
    gadget: Path, gadgetops: Gadgetops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    done = gadgetops("build", gadget, "--builder", "docker")
    assert done.status == 1
    assert done.err.startswith("gadgetops: error: container engine: connecting: ")
    assert done.err.endswith("start one, set DOCKER_HOST, or pass --builder local\n")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--builder-image", "x"], "--builder-image: the builder local uses no image"),
        (["--pull", "never", "--builder", "ig-local"], "--pull: the builder ig-local uses no image"),
        (["--builder", "ig", "--arch", "amd64"], "--arch: ig cannot do that as we do"),
    ],
)
def test_options_of_another_builder_are_refused(
    gadget: Path, gadgetops: Gadgetops, arguments: list[str], problem: str
) -> None:
    done = gadgetops("build", gadget, *arguments)
    assert done.status == 2
    assert problem in done.err


def test_warnings_of_a_compiler_that_succeeds_are_shown_once_and_again_from_the_cache(
    gadget: Path, gadgetops: Gadgetops
) -> None:
    change(gadget / "program.bpf.c", "struct event *event;", "struct event *event;\n\tint unused;")
    first = gadgetops("build", gadget, "--quiet")
    assert first.status == 0
    assert first.err.startswith("gadgetops: warning: clang:\n  program.bpf.c:")
    assert first.err.count("unused variable 'unused'") == 1
    assert gadgetops("build", gadget, "--quiet").err == first.err


@pytest.fixture
def own_ig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ig as it is, but with a store of its own, and a mount that shows it its own pid."""
    wrapper, real = tmp_path / "bin" / "ig", shutil.which("ig")
    wrapper.parent.mkdir()
    (tmp_path / "lib").mkdir()
    wrapper.write_text(
        "#!/bin/sh\nexec unshare --mount --pid --fork --mount-proc sh -c "
        f'\'mount --bind {tmp_path}/lib /var/lib && exec {real} "$@"\' ig "$@"\n'
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.setenv("IG_EXPERIMENTAL", "false")
    return wrapper


@pytest.mark.ig
@pytest.mark.skipif(os.geteuid() != 0, reason="ig needs root")
def test_ig_builds_our_own_gadget_here(gadgetops: Gadgetops, tmp_path: Path, own_ig: Path) -> None:
    """With the headers beside its source, whatever the version of ig makes of build.yaml's options."""
    assert own_ig.exists()
    done = gadgetops("build", ROOT, "--builder", "ig-local", "-t", "x", "-o", tmp_path / "objects")
    assert done.status == 0, done.err
    checked = gadgetops("docs", "--check", ROOT / "DEVELOPER.md", "--image", "x")
    assert "flowchart: " not in checked.out


@pytest.mark.ig
@pytest.mark.skipif(os.geteuid() != 0, reason="ig needs root")
def test_ig_here_takes_further_headers(gadget: Path, gadgetops: Gadgetops, own_ig: Path) -> None:
    """`--include`, which ig itself has no option for."""
    assert own_ig.exists()
    elsewhere = gadget.parent / "elsewhere"
    (gadget / "include").rename(elsewhere)
    assert gadgetops("build", gadget, "--builder", "ig-local").status == 1
    done = gadgetops("build", gadget, "--builder", "ig-local", "-I", elsewhere)
    assert done.status == 0, done.err


@pytest.mark.ig
@pytest.mark.skipif(os.geteuid() != 0, reason="ig needs root")
@pytest.mark.parametrize("builder", ["ig-local", "ig"])
def test_ig_builds_into_our_store_and_keeps_nothing(
    gadget: Path,
    gadgetops: Gadgetops,
    tmp_path: Path,
    own_ig: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    builder: str,
) -> None:
    """Here, or in a container of an image that has make as well."""
    (gadget / "build.yaml").write_text("cflags: -Iinclude\n")
    arguments: list[object] = ["build", gadget, "--builder", builder, "-t", "x", "-o", tmp_path / "objects"]
    if builder == "ig":
        monkeypatch.setenv("DOCKER_HOST", request.getfixturevalue("docker_engine").address)
        image = request.getfixturevalue("make_image")
        arguments += ["--builder-image", f"{image}:latest", "--pull", "never"]
    done = gadgetops(*arguments)
    assert done.status == 0, done.err
    assert done.out.startswith("Successfully built ghcr.io/inspektor-gadget/gadget/x:latest@sha256:")
    assert {path.name for path in (tmp_path / "objects").iterdir()} == {"amd64.bpf.o", "arm64.bpf.o"}
    assert gadgetops("inspect", "x").status == 0
    listing = [own_ig, "image", "list", "-o", "json"]
    left = subprocess.run(listing, capture_output=True, text=True, check=True).stdout
    assert left.strip() in ("", "[]", "null")
    assert Layout.open(Path(os.environ["GADGETOPS_STORE"])).names().keys() == {
        "ghcr.io/inspektor-gadget/gadget/x:latest"
    }
