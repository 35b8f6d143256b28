"""Where a verb writes what it was asked for: a file that appears as a whole, or standard output."""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gadgetops.errors import StorageError, UsageError

STANDARD_OUTPUT: Final = "-"


class OutputFile:
    """
    The file that `-o` names; `-` is standard output.

    Args:
        name: As given.
        force: Whether a file that is there may be replaced.
        is_text: Whether a terminal can show the content.

    Raises:
        StorageError: It is there already, or its folder is not.
        UsageError: The content is not for a terminal.
    """

    def __init__(self, name: str, *, force: bool, is_text: bool) -> None:
        self.size_bytes = 0
        self._path = None if name == STANDARD_OUTPUT else Path(name)
        if self._path is None:
            if not is_text and sys.stdout.isatty():
                raise UsageError("not text: a terminal cannot show it", hint="redirect it, or name a file")
        elif self._path.exists() and not force:
            raise StorageError(self._path, "already exists", hint="pass --force to overwrite it")
        elif not self._path.parent.is_dir():
            raise StorageError(self._path.parent, "no such folder", hint="choose another with -o")

    def __str__(self) -> str:
        return "to standard output" if self._path is None else str(self._path)

    @contextlib.contextmanager
    def written(self) -> Iterator[Path]:
        """
        Give a path to write to; afterwards its content is in place. Nothing is left behind by what failed.

        Raises:
            StorageError: It could not be written.
        """
        if self._path is None:
            with tempfile.TemporaryDirectory(prefix="gadgetops-") as folder:
                path = Path(folder) / "output"
                yield path
                self._copy(path)
            return
        # Beside it, and renamed when it is whole.
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            yield temporary
            self.size_bytes = temporary.stat().st_size
            temporary.replace(self._path)
        except OSError as error:
            raise StorageError.from_os_error(error, self._path) from error
        finally:
            temporary.unlink(missing_ok=True)

    def _copy(self, path: Path) -> None:
        self.size_bytes = path.stat().st_size
        with path.open("rb") as content:
            shutil.copyfileobj(content, sys.stdout.buffer)
        sys.stdout.buffer.flush()
