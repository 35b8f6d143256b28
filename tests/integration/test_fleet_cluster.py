"""Fleets on a real standalone cluster: executors with nothing but Spark give DuckDB's rows."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from services.fleets import write_mixed
from services.spark_cluster import Cluster, running_cluster

QUESTIONS = (("leaks",), ("top", "--group-by", "label:version"), ("timeline",))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A master and two workers."""
    pytest.importorskip("pyspark", reason="no pyspark")
    with running_cluster(tmp_path) as running:
        yield running


def make_fleet(folder: Path, n_recordings: int) -> Path:
    """Write recordings of three sizes, the first of them damaged."""
    for number in range(n_recordings):
        path = folder / f"{number:03d}.gadgetrec"
        if number < 3:
            write_mixed(path, number + 1)
        else:
            shutil.copytree(folder / f"{number % 3:03d}.gadgetrec", path)
    [events] = (folder / "000.gadgetrec").glob("events-*")
    events.write_bytes(events.read_bytes()[:-9])
    return folder / "*.gadgetrec"


def ask(*arguments: str | Path) -> tuple[Any, str]:
    """Return an answer's JSON and standard error, without an activated environment."""
    environment = {**os.environ, "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "gadgetops", *map(str, arguments), "--format", "json"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode in (0, 1), result.stderr
    return json.loads(result.stdout), result.stderr


@pytest.mark.parametrize("n_recordings", [12, pytest.param(200, marks=pytest.mark.long)])
def test_a_cluster_gives_what_duckdb_gives(n_recordings: int, cluster: Cluster, tmp_path: Path) -> None:
    """Also of a fleet with a damaged recording, and while one of two workers dies."""
    (tmp_path / "fleet").mkdir()
    pattern = make_fleet(tmp_path / "fleet", n_recordings)
    on_spark = ("--engine", "spark", "--master", cluster.url)
    killer = threading.Thread(target=kill_at_work, args=(cluster, tmp_path))
    killer.start()
    for verb, *options in QUESTIONS:
        expected, _ = ask(verb, pattern, *options)
        found, errors = ask(verb, pattern, *options, *on_spark)
        assert found == expected
        assert errors == "", "Spark's chatter is for -v"
        assert any("000.gadgetrec" in reason for reason in expected["reasons"])
        assert expected["certainty"] == "possible"
    killer.join()
    assert len(cluster.workers) == 1


def kill_at_work(cluster: Cluster, folder: Path) -> None:
    """End a worker once it has an executor."""
    while not any(folder.glob("work*/app-*")):
        time.sleep(0.1)
    cluster.kill_a_worker()


def test_a_master_that_does_not_answer_is_named(tmp_path: Path) -> None:
    write_mixed(tmp_path / "a.gadgetrec", 1)
    command = [sys.executable, "-m", "gadgetops", "leaks", str(tmp_path / "*.gadgetrec"), "--engine", "spark"]
    result = subprocess.run(
        [*command, "--master", "nonsense://x"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "Spark (nonsense://x)" in result.stderr
    assert "Traceback" not in result.stderr
