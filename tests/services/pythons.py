"""Interpreters of several versions, wherever people have them: on PATH, by pyenv, by uv."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13")
"""Those that pyproject.toml names."""


def find_python(version: str) -> Path | None:
    """Return an interpreter of *version*; None if there is none here."""
    return next((path for path in _candidates(version) if path.exists()), None)


def _candidates(version: str) -> Iterator[Path]:
    if on_path := shutil.which(f"python{version}", path=_path_without_environments()):
        yield Path(on_path)
    pyenv = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser()
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or "~/.local/share/uv/python").expanduser()
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"))
    yield from sorted(uv.glob(f"cpython-{version}.*/bin/python{version}"))


def _path_without_environments() -> str:
    """Return PATH without virtual environments and pyenv's shims, which need a version to be chosen."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    is_own = [(Path(each).parent / "pyvenv.cfg").exists() or Path(each).name == "shims" for each in folders]
    return os.pathsep.join(each for each, own in zip(folders, is_own, strict=True) if not own)
