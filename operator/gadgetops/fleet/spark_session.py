"""Start Spark quietly, and watch how many tasks of its stages have run."""

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import IO, Any, Final

from gadgetops.errors import SparkUnavailable
from gadgetops.pairing.progress import query_listener

LOCAL: Final = "local[*]"
"""The master that is this process."""

_POLL_S: Final = 0.3
_REASONS: Final = ("Exception", "Error", "not set", "not found", "No such file")
"""What a line has in it that says why a Java program did not start."""


def start_session(master: str, *, is_verbose: bool) -> Any:
    """
    Return a session of Spark, the one that is there already if there is one.

    Args:
        master: Spark's master URL: `local[2]`, `spark://host:7077`, `yarn`, `k8s://…`.
        is_verbose: Leave on standard error what Spark writes there.

    Raises:
        SparkUnavailable: It cannot be started.
    """
    from pyspark.sql import SparkSession  # noqa: PLC0415

    # No Python runs on executors; should a later Spark start any, it is this interpreter.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("gadgetops").master(master)
    if master.startswith("local"):
        # Without a network, or with a name that resolves to nothing, Spark would not find itself.
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        # For less than a cluster's data one task after a shuffle is faster than two hundred.
        builder = builder.config("spark.sql.shuffle.partitions", "1")
    builder = builder.config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false")
    with _redirected_errors(is_verbose=is_verbose) as written:
        try:
            session = builder.getOrCreate()
        except Exception as error:
            # PySpark and Py4J raise errors of many classes here, and Java writes some reasons only as text.
            raise SparkUnavailable(master, _reason(written, error)) from error
    session.sparkContext.setLogLevel("WARN" if is_verbose else "ERROR")
    return session


@contextlib.contextmanager
def _redirected_errors(*, is_verbose: bool) -> Iterator[IO[bytes]]:
    """Send to a file what programs that the block starts write on standard error, also after the block."""
    with tempfile.TemporaryFile() as file:
        if is_verbose:
            yield file
            return
        sys.stderr.flush()
        kept = os.dup(2)
        try:
            os.dup2(file.fileno(), 2)
            yield file
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


def _reason(written: IO[bytes], error: Exception) -> str:
    written.seek(0)
    text = written.read().decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if any(each in line for each in _REASONS)]
    return lines[-1] if lines else str(error).strip().partition("\n")[0]


@contextlib.contextmanager
def watch_tasks(session: Any) -> Iterator[None]:
    """Tell `query_listener`, for the length of the block, how many tasks of the running stages have ended."""
    report = query_listener.get()
    is_done = threading.Event()

    def watch() -> None:
        tracker = session.sparkContext.statusTracker()
        while not is_done.wait(_POLL_S):
            stages = [tracker.getStageInfo(each) for each in tracker.getActiveStageIds()]
            running = [each for each in stages if each is not None]
            if running:
                report(
                    sum(each.numCompletedTasks for each in running), sum(each.numTasks for each in running)
                )

    thread = threading.Thread(target=watch, name="spark-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_done.set()
        thread.join()
        report(1, 1)
