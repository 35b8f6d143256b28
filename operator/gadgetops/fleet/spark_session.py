"""Start Spark quietly, and watch how many tasks of its stages have run."""

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any, Final

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

    # Nothing of Python runs on executors; should a future Spark want to, the interpreter is this one.
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
            raise SparkUnavailable(master, _reason(written.read_text(), error)) from error
    session.sparkContext.setLogLevel("WARN" if is_verbose else "ERROR")
    return session


class _Written:
    """What a program that was started in the meantime wrote on standard error."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read_text(self) -> str:
        self._file.seek(0)
        return str(self._file.read().decode(errors="replace"))


@contextlib.contextmanager
def _redirected_errors(*, is_verbose: bool) -> Iterator[_Written]:
    """Keep off the terminal what programs that the block starts ever write on standard error."""
    with tempfile.TemporaryFile() as file:
        if is_verbose:
            yield _Written(file)
            return
        sys.stderr.flush()
        kept = os.dup(2)
        try:
            os.dup2(file.fileno(), 2)
            yield _Written(file)
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


def _reason(text: str, error: Exception) -> str:
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
