"""The wheel, installed into an environment of its own, without the sources and without a compiler."""

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from services.pythons import VERSIONS, find_python

from gadgetops.gadget.building.build import build
from gadgetops.gadget.building.buildfile import BuildFile
from gadgetops.gadget.building.toolchain import TARGETS
from gadgetops.gadget.media_types import MEDIA_TYPE_OBJECT
from gadgetops.gadget.reading.own_images import BUILD_FILES
from gadgetops.oci.image import Image
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.reference import Reference

ROOT = Path(__file__).parents[2]
MOST_WHEEL_BYTES = 3_000_000
MOST_INSTALLED_BYTES = 200_000_000
"""Of the wheel and all that it needs, with the bytecode that pip makes; without pip."""
HOME = Path.home()
"""As it was when tests were collected: each test gets a home folder of its own."""

PLUGIN_TEST = """
import pytest

@pytest.mark.gadget_budget(leak_bytes="1G")
def test_within(gadget_run):
    assert gadget_run(["/bin/ls", "/"]).returncode == 0
"""


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    _hatchling(ROOT, folder)
    return folder


def _hatchling(project: Path, folder: Path, *options: str, **variables: str) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder), *options]
    subprocess.run(command, cwd=project, check=True, capture_output=True, env=os.environ | variables)


def _wheel(folder: Path) -> Path:
    return next(folder.glob("*.whl"))


def _installed_bytes(environment: Path) -> int:
    """Return what pip put into an environment takes on a disk, without pip and what came with it."""
    packages = next(environment.glob("lib/python*/site-packages"))
    brought = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "pytest", "_pytest")
    return sum(
        file.lstat().st_blocks * 512
        for place in packages.iterdir()
        if not place.name.startswith(brought)
        for file in [place, *place.rglob("*")]
    )


def _carried(wheel: Path, folder: Path) -> Layout:
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(folder)], check=True)
    return Layout.open(folder / "gadgetops/bundled/images")


def _contents(wheel: Path) -> dict[str, bytes]:
    """Return the files of a wheel; their order is hatchling's, and so is the list of them."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("RECORD")}


def test_its_images_are_those_that_build_makes(distributions: Path, tmp_path: Path) -> None:
    """Equal digests, and so equal objects, metadata and times, for both images and architectures."""
    carried = _carried(_wheel(distributions), tmp_path)
    for name, build_file in BUILD_FILES.items():
        built = build(BuildFile.read(ROOT, ROOT / build_file), sorted(TARGETS))
        image = Image.load(carried, Reference.parse(name))
        assert image.digest == built.image.index.digest
        objects = {f"{each}.bpf.o": image.layer(each, MEDIA_TYPE_OBJECT) for each in image.architectures}
        assert objects == dict(built.objects)


def test_it_is_small(distributions: Path) -> None:
    """Downloading it takes no thought."""
    assert _wheel(distributions).stat().st_size < MOST_WHEEL_BYTES


def test_a_source_distribution_makes_the_same_wheel_without_a_compiler(
    distributions: Path, tmp_path: Path
) -> None:
    """It carries the build products, since neither git nor clang is there to make them."""
    archive = next(distributions.glob("*.tar.gz"))
    subprocess.run(["tar", "xzf", str(archive), "-C", str(tmp_path)], check=True)
    _hatchling(next(tmp_path.iterdir()), tmp_path, "-t", "wheel", CLANG="/nonexistent/clang")
    assert _contents(_wheel(tmp_path)) == _contents(_wheel(distributions))


class Environment:
    """A virtual environment with the wheel and pytest in it, and with no compiler."""

    def __init__(self, python: Path, folder: Path, wheel: Path) -> None:
        self.folder = folder
        self._variables = {
            "HOME": str(folder / "home"),
            "PATH": f"{folder}/venv/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "CLANG": "/nonexistent/clang",
            "GADGETOPS_STORE": str(folder / "store"),
        }
        subprocess.run([str(python), "-m", "venv", str(folder / "venv")], check=True)
        pins = re.findall(r"^[a-z0-9-]+==[^\\\n]+", (ROOT / "requirements/dev.txt").read_text(), re.MULTILINE)
        (folder / "pins.txt").write_text("\n".join(pins))
        install = ["pip", "install", "-q", "--disable-pip-version-check", "-c", str(folder / "pins.txt")]
        cached = {"PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR") or str(HOME / ".cache/pip")}
        settings = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
        self.run(*install, str(wheel), "pytest", **settings, **cached)

    def run(self, program: str, *arguments: str, **variables: str) -> str:
        """Run a program of the environment and return its output; it is shown if it fails."""
        done = self._done(program, *arguments, **variables)
        assert done.returncode == 0, f"{program} {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def fail(self, program: str, *arguments: str) -> str:
        """Run a program that is to refuse, and return its message."""
        done = self._done(program, *arguments)
        assert done.returncode == 2, f"{program} {arguments}: {done.stdout}{done.stderr}"
        return done.stderr

    def _done(self, program: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.folder / "venv/bin" / program), *arguments],
            cwd=self.folder,
            env={**self._variables, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    def answer(self, *arguments: str) -> Any:
        """Return the JSON that `gadgetops` prints."""
        return json.loads(self.run("gadgetops", *arguments, "--format", "json"))


@pytest.fixture(params=VERSIONS)
def environment(request: pytest.FixtureRequest, distributions: Path, tmp_path: Path) -> Iterator[Environment]:
    """A fresh environment of each Python that is here."""
    python = find_python(request.param)
    if python is None:
        pytest.skip(f"no Python {request.param} here")
    yield Environment(python, tmp_path, _wheel(distributions))


@pytest.mark.kernel
def test_it_works_alone(environment: Environment) -> None:
    """What people do first needs the wheel and nothing else: record, ask, check, inspect, test."""
    assert _installed_bytes(environment.folder / "venv") < MOST_INSTALLED_BYTES
    program = "import ctypes; m = ctypes.CDLL(None).malloc; m.restype = ctypes.c_void_p; m(77_000)"
    command = ["--", "/usr/bin/python3", "-S", "-c", program]
    environment.run("gadgetops", "record", "-q", "--engine", "libbpf", "-o", "x.gadgetrec", *command)
    header = json.loads((environment.folder / "x.gadgetrec/recording.json").read_text())
    digest = environment.answer("inspect", "trace_malloc")["digest"]
    assert (header["image"]["digest"], header["image"]["is_own"]) == (digest, True)
    environment.run("gadgetops", "record", "-q", "--engine", "preload", "-o", "y.gadgetrec", *command)
    for recording in ("x.gadgetrec", "y.gadgetrec"):
        leaks = environment.answer("leaks", recording)["leaks"]
        assert any(row["bytes"] == 77_000 for row in leaks), recording
    environment.run("gadgetops", "check", "x.gadgetrec", "--max-leak-bytes", "1G")
    environment.run("gadgetops", "report", "x.gadgetrec", "-o", "x.html")
    assert 'id="contents"' in (environment.folder / "x.html").read_text()
    environment.run("gadgetops", "build", "--bundled", "trace_malloc", "-t", "mine:v1", "-o", "objects")
    assert [row["digest"] for row in environment.answer("list")] == [digest]
    refused = environment.fail("gadgetops", "keygen", "--output", "mine")
    assert "pip install 'gadgetops[sign]'" in refused
    environment.run("gadgetops", "init", "fresh")
    assert (environment.folder / "fresh/gadget/include/gadget/types.h").exists()
    (environment.folder / "test_budget.py").write_text(PLUGIN_TEST)
    assert "1 passed" in environment.run("pytest", "-q", "test_budget.py")
