"""
Spark as the engine of a fleet: in this process, or a cluster that sees the recordings under the same paths.

The questions' texts are run as they are; what DuckDB writes otherwise than Spark is translated by sqlglot.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gadgetops.errors import RecordingError, UsageError
from gadgetops.pairing.pairs import extend

LOCAL: Final = "local[*]"
"""The master that is this process."""

_CREATE: Final = re.compile(
    r"create (?:or replace )?temp (?P<kind>table|view) (?P<name>\w+) as (?P<query>.*)", re.S
)
_COLUMN: Final = re.compile(r"unnest\(cast\(\$(\w+) as (\w+)\[\]\)\) as \w+")
_PARAMETER: Final = re.compile(r"\$(\w+)")
_FILE_NAME: Final = """
    regexp_replace(url_decode(replace(_metadata.file_path, '+', '%2B')), '^file:/+', '/') as file_name
"""
"""The path that a row is from; Spark has it quoted, behind a scheme with one slash or three."""
_TYPES: Final = {"varchar": "string", "integer": "int"}


class SparkEngine:
    """
    Answers by Spark.

    `session` is Spark's.

    Args:
        master: As Spark names it: `local[2]`, `spark://host:7077`, `yarn`, `k8s://…`.

    Raises:
        UsageError: pyspark or sqlglot is not installed.
    """

    def __init__(self, master: str = LOCAL) -> None:
        try:
            import sqlglot  # noqa: F401, PLC0415
            from pyspark.sql import SparkSession  # noqa: PLC0415
        except ImportError as error:
            raise UsageError(
                "--engine spark needs pyspark and sqlglot", hint="install gadgetops[spark]"
            ) from error
        if master.startswith("local"):
            # Without a network, or with a name that resolves to nothing, Spark would not find itself.
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        builder = SparkSession.builder.appName("gadgetops").master(master)
        if master.startswith("local"):
            # For less than a cluster's data one task after a shuffle is faster than two hundred.
            builder = builder.config("spark.sql.shuffle.partitions", "1").config("spark.ui.enabled", "false")
        builder = builder.config("spark.ui.showConsoleProgress", "false")
        self.session: Any = builder.getOrCreate()
        self.session.sparkContext.setLogLevel("ERROR")

    def extend(self, paths: Sequence[Path]) -> None:
        """Pair the recordings on the executors, one a task."""
        names = [str(path.absolute()) for path in paths]
        self.session.sparkContext.parallelize(names, len(names)).foreach(_extend)

    @contextlib.contextmanager
    def connect(self) -> Iterator["SparkConnection"]:
        """Give a connection with views of its own."""
        from pyspark.errors import PySparkException  # noqa: PLC0415

        connection = SparkConnection(self.session.newSession())
        try:
            yield connection
        except PySparkException as error:
            raise RecordingError(Path("fleet"), str(error).partition("\n")[0]) from error
        finally:
            connection.close()

    def read(
        self, connection: "SparkConnection", view: str, paths: Sequence[Path], columns: Mapping[str, str]
    ) -> None:
        """Create *view* of the rows in *paths*."""
        session = connection.session
        schema = ", ".join(f"{name} {_TYPES.get(kind, kind)}" for name, kind in columns.items())
        if paths:
            # Hadoop takes wildcards in paths, which a backslash takes the meaning from.
            names = [re.sub(r"([*?\[\]{}\\])", r"\\\1", f"file://{self.file_name(path)}") for path in paths]
            frame = session.read.schema(schema).parquet(*names).selectExpr(*columns, _FILE_NAME)
        else:
            frame = session.createDataFrame([], f"{schema}, file_name string")
        frame.createOrReplaceTempView(view)

    def file_name(self, path: Path) -> str:
        """Return the absolute path."""
        return str(path.absolute())


class SparkConnection:
    """A session of Spark that takes the statements which the questions give to DuckDB."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self._kept: list[Any] = []
        self._result: Any = None

    def execute(self, statement: str, parameters: Mapping[str, Any] | None = None) -> "SparkConnection":
        """Run a query, or create a temporary view or table of what one gives."""
        created = _CREATE.fullmatch(statement.strip())
        frame = self._frame(created["query"] if created else statement, parameters or {})
        if created is None:
            self._result = frame
            return self
        if created["kind"] == "table":
            frame = frame.cache()
            self._kept.append(frame)
        frame.createOrReplaceTempView(created["name"])
        return self

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows; Spark has percentiles of whole numbers as fractions."""
        found = self._result.collect()
        return [tuple(int(value) if isinstance(value, float) else value for value in row) for row in found]

    def close(self) -> None:
        """Give memory back."""
        for frame in self._kept:
            frame.unpersist()

    def _frame(self, query: str, parameters: Mapping[str, Any]) -> Any:
        if any(isinstance(value, list) for value in parameters.values()):
            return self._table(query, parameters)
        return self.session.sql(
            translated(_PARAMETER.sub(lambda found: str(int(parameters[found[1]])), query))
        )

    def _table(self, query: str, parameters: Mapping[str, Any]) -> Any:
        """Return the rows whose columns are given as lists."""
        columns = _COLUMN.findall(query)
        schema = ", ".join(f"{name} {_TYPES.get(kind, kind)}" for name, kind in columns)
        values = [*zip(*(parameters[name] for name, _ in columns), strict=True)]
        return self.session.createDataFrame(values, schema)


def translated(query: str) -> str:
    """Return *query*, of the questions' texts, as Spark takes it."""
    import sqlglot  # noqa: PLC0415

    [found] = sqlglot.transpile(
        query, read="duckdb", write="spark", unsupported_level=sqlglot.ErrorLevel.RAISE
    )
    return found


def _extend(name: str) -> None:
    extend(Path(name))
