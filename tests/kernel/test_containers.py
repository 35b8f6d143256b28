"""`record --container`: any C library, later processes included, others kept out; with a real dockerd."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from services.dockerd import Engine, docker_engine, libraries_of

pytestmark = pytest.mark.kernel
__all__ = ["docker_engine"]

PROGRAM = """
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	int size = atoi(argv[1]), count = atoi(argv[2]);
	while (argc > 3 && access(argv[3], F_OK) != 0)
		usleep(10000);
	for (int i = 0; i < count; i++)
		free(malloc(size));
	if (argc > 4)
		pause();
	return 0;
}
"""
COMPILERS = {"glibc": ["gcc"], "musl": ["musl-gcc"], "static": ["gcc", "-static"]}
RUNTIMES = tuple(COMPILERS)
TIMEOUT_S = 60


@pytest.fixture(scope="session")
def images(docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An image for each way to have an allocator, with one program, /allocate SIZE COUNT [GO [STAY]]."""
    folder = tmp_path_factory.mktemp("images")
    source = folder / "allocate.c"
    source.write_text(PROGRAM)
    return {runtime: _image(docker_engine, runtime, source) for runtime in RUNTIMES}


def _image(engine: Engine, runtime: str, source: Path) -> str:
    program = source.with_name(runtime)
    flags = ["-g", "-O1", "-fno-builtin", "-fno-omit-frame-pointer"]
    subprocess.run([*COMPILERS[runtime], *flags, source, "-o", program], check=True)
    libraries = {} if runtime == "static" else _libraries(runtime, program)
    return engine.make_image(f"allocate-{runtime}", {"/allocate": program, **libraries})


def _libraries(runtime: str, program: Path) -> dict[str, Path]:
    if runtime == "glibc":
        return libraries_of(program)
    linker = next(Path("/lib").glob("ld-musl-*.so.1"))
    return {str(linker): linker}


def wait_until(is_so: Any) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def recorder(engine: Engine, gadget: Path, recording: Path, *options: object) -> Iterator[Any]:
    """`record` with its engine; ended with SIGINT if it has not ended by itself, and ends well."""
    argv = [sys.executable, "-m", "gadgetops", "record", "-o", recording, "--image", gadget, *options]
    process = subprocess.Popen(
        [*map(str, argv)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DOCKER_HOST": engine.address},
    )
    try:
        yield process
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
    assert process.returncode == 0, errors


def header(recording: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((recording / "recording.json").read_text())
    return document


def mallocs(recording: Path) -> dict[int, int]:
    """Return how often each size above 1000 was allocated: the program's, not its libraries' own."""
    rows = duckdb.sql(
        f"select size_bytes, count(*) from read_parquet('{recording}/events-*.parquet')"
        " where operation = 'malloc' and size_bytes > 1000 group by all"
    ).fetchall()
    return dict(rows)


def go(container: Any) -> None:
    """Let the program go on that waits for the file /go."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("go"))
    container.put_archive("/", stream.getvalue())


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_running_container_is_recorded_exactly_and_named(
    docker_engine: Engine, images: dict[str, str], gadget_object: Path, tmp_path: Path, runtime: str
) -> None:
    """Whatever C library it has; a container of the same image beside it gives no events."""
    recording, name = tmp_path / "r.gadgetrec", f"shop-{runtime}"
    command = ["/allocate", 4321, 50, "/go"]
    with (
        docker_engine.running(images[runtime], *command, name=name) as container,
        docker_engine.running(images[runtime], "/allocate", 1234, 50, "/go") as other,
        recorder(docker_engine, gadget_object, recording, "--container", name) as process,
    ):
        wait_until(recording.exists)
        go(other)
        assert other.wait(timeout=TIMEOUT_S)["StatusCode"] == 0
        go(container)
        process.wait(TIMEOUT_S)
        expected = {"name": name, "id": container.id, "image": images[runtime]}
    document = header(recording)
    assert mallocs(recording) == {4321: 50}
    assert (document["end"], document["counters"]["lost"]) == ("complete", 0)
    assert {key: document["target"]["container"][key] for key in expected} == expected
    containers = f"select distinct container from read_parquet('{recording}/processes-*.parquet')"
    assert duckdb.sql(containers).fetchall() == [(name,)]


def test_what_is_execd_into_a_container_is_recorded_too(
    docker_engine: Engine, images: dict[str, str], gadget_object: Path, tmp_path: Path
) -> None:
    recording = tmp_path / "r.gadgetrec"
    with (
        docker_engine.running(images["glibc"], "/allocate", 1111, 1, "/never", name="busy") as container,
        recorder(docker_engine, gadget_object, recording, "--container", "busy"),
    ):
        wait_until(recording.exists)
        assert container.exec_run(["/allocate", "2222", "30"]).exit_code == 0
    assert mallocs(recording) == {2222: 30}
    assert header(recording)["end"] == "interrupted"


def test_a_container_that_is_not_there_yet_is_waited_for(
    docker_engine: Engine, images: dict[str, str], gadget_object: Path, tmp_path: Path
) -> None:
    recording = tmp_path / "r.gadgetrec"
    options = ["--container", "later", "--wait", "--docker-host", docker_engine.address]
    with recorder(docker_engine, gadget_object, recording, *options) as process:
        time.sleep(1)
        assert process.poll() is None
        assert not recording.exists()
        with docker_engine.running(images["musl"], "/allocate", 3333, 20, "/go", name="later") as container:
            wait_until(recording.exists)
            go(container)
            process.wait(TIMEOUT_S)
    assert mallocs(recording) == {3333: 20}


def test_what_cannot_be_reached_says_why(docker_engine: Engine, gadget_object: Path, tmp_path: Path) -> None:
    nowhere = f"unix://{tmp_path}/nowhere.sock"
    for address, text in (
        (docker_engine.address, "no running container 'nope'"),
        (nowhere, f"no engine answers at {nowhere}"),
    ):
        argv = ["record", "-o", tmp_path / "r", "--image", gadget_object, "--container", "nope"]
        done = subprocess.run(
            [sys.executable, "-m", "gadgetops", *map(str, argv), "--docker-host", address],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, text in done.stderr) == (1, True), done.stderr
        assert not (tmp_path / "r").exists()
