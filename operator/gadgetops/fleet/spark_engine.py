"""
Spark as the engine of a fleet: in this process, or a cluster that sees the recordings under the same paths.

The questions' texts are run as they are; what DuckDB writes otherwise than Spark is translated by sqlglot.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gadgetops.errors import RecordingError, UsageError
from gadgetops.fleet.spark_session import LOCAL, start_session, watch_tasks

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
_ARROW_TYPES: Final = {
    "varchar": "string",
    "integer": "int32",
    "bigint": "int64",
    "double": "float64",
    "boolean": "bool",
}


class SparkEngine:
    """
    Engine for queries on a Spark cluster, or on Spark in this process.

    Executors need nothing but Spark: queries are SQL, and no Python function runs there. `session` is
    Spark's.

    Args:
        master: Spark's master URL: `local[2]`, `spark://host:7077`, `yarn`, `k8s://…`.
        is_verbose: Show what Spark writes on standard error.

    Raises:
        UsageError: pyspark, pyarrow or sqlglot is not installed.
        SparkUnavailable: Spark cannot be started.
    """

    def __init__(self, master: str = LOCAL, *, is_verbose: bool = False) -> None:
        try:
            import pyarrow  # noqa: F401, PLC0415
            import sqlglot  # noqa: F401, PLC0415
            from pyspark.sql import SparkSession  # noqa: F401, PLC0415
        except ImportError as error:
            raise UsageError(
                "--engine spark needs pyspark, pyarrow and sqlglot", hint="install gadgetops[spark]"
            ) from error
        self.session: Any = start_session(master, is_verbose=is_verbose)
        self._is_local = master.startswith("local")

    def check_pairs(self, recording: Path, folder: Path) -> None:
        """
        Raise unless the executors can read the pairs of *recording* in *folder*.

        Raises:
            RecordingError: The pairs are kept in this user's cache, which other machines do not have.
        """
        if not self._is_local and recording.absolute() not in folder.absolute().parents:
            raise RecordingError(
                recording,
                "its pairs are kept in this user's cache, which the cluster cannot read",
                hint="ask as the owner of the recording, or copy it into a folder of your own",
            )

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
        if paths:
            schema = ", ".join(f"{name} {_TYPES.get(kind, kind)}" for name, kind in columns.items())
            # Hadoop takes wildcards in paths, which a backslash takes the meaning from.
            names = [re.sub(r"([*?\[\]{}\\])", r"\\\1", f"file://{self.file_name(path)}") for path in paths]
            frame = session.read.schema(schema).parquet(*names).selectExpr(*columns, _FILE_NAME)
        else:
            nothing = (f"cast(null as {_TYPES.get(kind, kind)}) as {name}" for name, kind in columns.items())
            frame = session.sql(f"select {', '.join(nothing)}, cast(null as string) as file_name where false")
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
        with watch_tasks(self.session):
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
        """
        Return the rows whose columns are given as lists.

        They go to Java as an Arrow table: lists of Python's would be unpickled by Python on an executor.
        """
        import pyarrow  # noqa: PLC0415

        columns = dict(_COLUMN.findall(query))
        arrays = {
            name: pyarrow.array(parameters[name], pyarrow.type_for_alias(_ARROW_TYPES[kind]))
            for name, kind in columns.items()
        }
        return self.session.createDataFrame(pyarrow.table(arrays))


def translated(query: str) -> str:
    """Return *query*, of the questions' texts, as Spark takes it."""
    import sqlglot  # noqa: PLC0415

    [found] = sqlglot.transpile(
        query, read="duckdb", write="spark", unsupported_level=sqlglot.ErrorLevel.RAISE
    )
    return found
