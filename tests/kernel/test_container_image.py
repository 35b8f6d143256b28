"""The image of `Containerfile`, built and run by an engine of the tests' own (`make test-container`)."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from services.dockerd import Engine

ROOT = Path(__file__).parents[2]
BASE = "debian:12-slim"
SUITE = "bookworm"
PYTHON = "3.11"
"""Of that suite."""
MOST_BYTES = 450_000_000
ALLOCATES = "import time\nwhile True: bytearray(5000); time.sleep(0.005)"

pytestmark = [pytest.mark.kernel, pytest.mark.long]
pytest_plugins = ["services.dockerd"]


@pytest.fixture(scope="module")
def image(docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Built on a Debian of packages alone, since no registry is asked for one."""
    if shutil.which("mmdebstrap") is None:
        pytest.skip("no `mmdebstrap` on PATH")
    folder = tmp_path_factory.mktemp("context")
    base = folder / "base.tar"
    subprocess.run(["mmdebstrap", "--variant=minbase", SUITE, str(base)], check=True, capture_output=True)
    docker_engine.client.api.import_image_from_data(base.read_bytes(), *BASE.split(":"))
    base.unlink()
    make = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(make, cwd=ROOT, check=True, capture_output=True)
    wheel = next((folder / "dist").glob("*.whl"))
    download = [sys.executable, "-m", "pip", "download", "-q", "-d", str(wheel.parent), "--only-binary=:all:"]
    subprocess.run([*download, "--python-version", PYTHON, str(wheel)], check=True)
    shutil.copy(ROOT / "Containerfile", folder)
    how = {"dockerfile": "Containerfile", "network_mode": "host", "buildargs": {"PIP_NO_INDEX": "1"}}
    built, _ = docker_engine.client.images.build(path=str(folder), tag="gadgetops", **how)
    assert built.attrs["Size"] < MOST_BYTES
    yield "gadgetops"


def test_it_records_a_process_of_the_machine_and_says_what_leaks(
    image: str, docker_engine: Engine, tmp_path: Path
) -> None:
    """With the options that the documentation names, and nothing of the machine but its kernel."""
    how = {"privileged": True, "pid_mode": "host", "network_mode": "none", "remove": True}
    how["volumes"] = {str(tmp_path): {"bind": "/recordings", "mode": "rw"}}
    run = docker_engine.client.containers.run
    with subprocess.Popen(["python3", "-c", ALLOCATES]) as process:
        record = [
            "record",
            "-q",
            "--force",
            "--pid",
            str(process.pid),
            "--duration",
            "2s",
            "-o",
            "app.gadgetrec",
        ]
        run(image, record, **how)
        process.kill()
    header = json.loads((tmp_path / "app.gadgetrec/recording.json").read_text())
    assert (header["end"], header["image"]["is_own"]) == ("duration", True)
    answer = json.loads(run(image, ["summary", "app.gadgetrec", "--format", "json"], **how))
    assert answer["allocated_count"] > 50
    assert "can_record" in json.loads(run(image, ["doctor", "--format", "json"], **how))
