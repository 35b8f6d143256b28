"""A standalone Spark cluster on loopback: Spark's own master and workers, without this project."""

import contextlib
import importlib.util
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from services.registry import free_port

PATIENCE_S = 60


@dataclass
class Cluster:
    """A running cluster."""

    url: str
    workers: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def kill_a_worker(self) -> None:
        """End one worker and its executors at once."""
        worker = self.workers.pop()
        command = ["pgrep", "-P", str(worker.pid)]
        for child in subprocess.run(command, check=False, capture_output=True).stdout.split():
            subprocess.run(["kill", "-KILL", child], check=False)
        worker.kill()
        worker.wait()


@contextlib.contextmanager
def running_cluster(folder: Path, n_workers: int = 2) -> Iterator[Cluster]:
    """Give a cluster whose processes write below *folder*, and end it afterwards."""
    found = importlib.util.find_spec("pyspark")
    assert found is not None
    assert found.origin is not None
    home = Path(found.origin).parent
    host, port, page = "127.0.0.1", free_port(), free_port()
    # Of this interpreter and its folders nothing is known there.
    environment = {
        "PATH": "/usr/bin:/bin",
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": host,
        "PYSPARK_PYTHON": "/usr/bin/false",
        **{name: value for name, value in os.environ.items() if name == "JAVA_HOME"},
    }
    base = [str(home / "bin/spark-class")]
    processes = []

    def start(name: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with (folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [*base, *arguments], env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT
            )
        processes.append(process)
        return process

    cluster = Cluster(f"spark://{host}:{port}")
    try:
        master = "org.apache.spark.deploy.master.Master"
        start("master", master, "--host", host, "--port", str(port), "--webui-port", str(page))
        _wait_for(f"http://{host}:{page}/json/", '"workers"', 0)
        for number in range(n_workers):
            worker = "org.apache.spark.deploy.worker.Worker"
            size = ("--cores", "1", "--memory", "1g", "--webui-port", str(free_port()))
            place = ("--host", host, "--work-dir", str(folder / f"work{number}"))
            cluster.workers.append(start(f"worker{number}", worker, *size, *place, cluster.url))
        _wait_for(f"http://{host}:{page}/json/", '"state" : "ALIVE"', n_workers)
        yield cluster
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _wait_for(url: str, text: str, times: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(url) as answer:
            if answer.read().decode().count(text) >= times:
                return
        time.sleep(0.2)
    print(f"{url} never said {text} {times} times", file=sys.stderr)
    raise TimeoutError(url)
