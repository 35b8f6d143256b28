"""Other people's viewers, each by the name of its package: they open what `gadgetops convert` writes."""

import json
import os
import re
import shutil
import socket
import subprocess
import time
import uuid
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ENVIRONMENT = {**os.environ}
"""As it was before tests got folders of their own: Go and npm keep there what they made before."""
FIREFOX_PROFILER = "@firefox-devtools/profiler-cli@0.10.0"
SPEEDSCOPE = "speedscope@1.25.0"
_PATIENCE_S = 60
_RECEIVER = Path(__file__).parent / "otlp_receiver"


def needed(program: str) -> str:
    """Return the path of *program*; skip where it is not there."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"no `{program}` on PATH")
    return path


def run(*argv: object, cwd: Path | None = None, env: Mapping[str, str] = ENVIRONMENT) -> str:
    """Return what *argv* prints."""
    done = subprocess.run(
        [*map(str, argv)], capture_output=True, text=True, cwd=cwd, env=env, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def npm_package(name: str, folder: Path) -> Path:
    """Return the folder into which npm's package *name* is unpacked, below *folder*."""
    needed("npm")
    folder.mkdir(parents=True, exist_ok=True)
    run("npm", "pack", "--silent", name, cwd=folder)
    [archive] = folder.glob("*.tgz")
    shutil.unpack_archive(archive, folder, filter="data")
    return folder / "package"


class Heaptrack(NamedTuple):
    """What `heaptrack_print` says of a file at its end, in bytes as far as its four digits go."""

    calls: int
    peak: str
    leaked: str


def heaptrack(path: Path) -> Heaptrack:
    """Have heaptrack open *path*."""
    printed = run(needed("heaptrack_print"), path)
    calls = re.search(r"calls to allocation functions: (\d+)", printed)
    peak = re.search(r"peak heap memory consumption: (\S+)", printed)
    leaked = re.search(r"total memory leaked: (\S+)", printed)
    assert calls and peak and leaked, printed[-2000:]
    return Heaptrack(int(calls[1]), peak[1], leaked[1])


def heaptrack_window(path: Path, folder: Path, *, until: str) -> str:
    """Have heaptrack_gui open *path*, and return the text in its window as soon as *until* is in it."""
    for program in ("heaptrack_gui", "Xvfb", "import", "tesseract"):
        needed(program)
    # It finds a display that is free itself, and says which.
    display = subprocess.Popen(
        ["Xvfb", "-displayfd", "1", "-screen", "0", "1600x900x24"], stdout=subprocess.PIPE, text=True
    )
    with display, _ended(display):
        assert display.stdout is not None
        env = {**ENVIRONMENT, "DISPLAY": f":{display.stdout.readline().strip()}", "QT_QPA_PLATFORM": "xcb"}
        with (folder / "window.log").open("w") as log:
            window = subprocess.Popen(["heaptrack_gui", str(path)], env=env, stdout=log, stderr=log)
        with window, _ended(window):
            text, deadline = "", time.monotonic() + _PATIENCE_S
            while until not in text and time.monotonic() < deadline:
                assert window.poll() is None, (folder / "window.log").read_text()
                time.sleep(0.5)
                run("import", "-window", "root", folder / "window.png", env=env)
                text = run("tesseract", folder / "window.png", "-", "--psm", "11")
            return text


@contextmanager
def _ended(process: "subprocess.Popen[Any]") -> Iterator[None]:
    """End *process* after the block."""
    try:
        yield
    finally:
        process.terminate()


class FirefoxProfiler:
    """The Firefox Profiler's own code, which reads a profile as profiler.firefox.com does."""

    def __init__(self, package: Path, home: Path) -> None:
        self._argv = [needed("node"), str(package / "dist" / "profiler-cli.js")]
        self._session = f"test-{uuid.uuid4().hex}"
        self._env = {**ENVIRONMENT, "HOME": str(home)}

    @contextmanager
    def loaded(self, path: Path) -> Iterator["FirefoxProfiler"]:
        """Have it open *path*."""
        argv = [*self._argv, "load", str(path), "--session", self._session]
        begun = subprocess.run(argv, capture_output=True, text=True, env=self._env, check=False)
        try:
            # On a busy machine it gives up before its server is up, which it leaves running.
            deadline = time.monotonic() + _PATIENCE_S
            while begun.returncode and self._is_starting():
                assert time.monotonic() < deadline, begun.stderr
                time.sleep(0.5)
            yield self
        finally:
            run(*self._argv, "stop", self._session, env=self._env)

    def bytes_of(self, strategy: str) -> dict[str, int]:
        """Return the bytes of each function itself, by a data source such as `native-allocations`."""
        self._ask("strategy", strategy)
        found = json.loads(self._ask("thread", "functions", "--json", "--limit", "0"))
        assert found["weightType"] == "bytes"
        return {each["nameWithLibrary"]: each["selfSamples"] for each in found["functions"]}

    def counters(self) -> list[dict[str, Any]]:
        """Return what it says of the counters."""
        counters: list[dict[str, Any]] = json.loads(self._ask("counter", "list", "--json"))["counters"]
        return counters

    def _is_starting(self) -> bool:
        argv = [*self._argv, "profile", "info", "--session", self._session]
        asked = subprocess.run(argv, capture_output=True, env=self._env, check=False)
        return asked.returncode != 0

    def _ask(self, *arguments: object) -> str:
        return run(*self._argv, *arguments, "--session", self._session, env=self._env)


def speedscope_profiles(package: Path, path: Path, folder: Path) -> dict[str, str]:
    """Have speedscope open *path* in Chromium; return the weight of each profile, as its list shows them."""
    chromium = needed("chromium")
    script = folder / "profile.js"
    content = b64encode(path.read_bytes()).decode()
    script.write_text(f'speedscope.loadFileFromBase64("profile.json", "{content}")')
    page = package / "dist" / "release" / "index.html"
    shown = run(
        *(chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'browser'}"),
        *("--virtual-time-budget=20000", "--dump-dom", f"file://{page}#localProfilePath={script}"),
        env={**ENVIRONMENT, "HOME": str(folder)},
    )
    texts: list[str] = re.findall(r">([^<]+)<", shown.partition("Total Weight")[2])
    names = [number for number, text in enumerate(texts) if re.search(r"\((bytes|allocations)\)$", text)]
    return {texts[number]: texts[number + 1] for number in names}


def otlp_receiver(folder: Path) -> Path:
    """Return a program that receives OTLP profiles with the OpenTelemetry collector's own receiver."""
    needed("go")
    shutil.copytree(_RECEIVER, folder)
    run("go", "build", "-trimpath", "-o", "receiver", ".", cwd=folder)
    return folder / "receiver"


class Received(NamedTuple):
    """Where a receiver listens."""

    grpc: str
    http: str
    process: "subprocess.Popen[str]"

    def next(self) -> dict[str, Any]:
        """Return what the next request came to."""
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found


@contextmanager
def receiving(program: Path) -> Iterator[Received]:
    """Run the receiver at two free ports."""
    addresses = [f"127.0.0.1:{_free_port()}" for _ in range(2)]
    with subprocess.Popen(
        [program, *addresses], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Received(*addresses, process)
        process.stdin.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
