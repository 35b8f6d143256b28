"""Running other programs: the one place that does, so that every failure reads the same."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gadgetops.errors import ToolError


class Done(NamedTuple):
    """What a tool that succeeded wrote to standard output, and to standard error."""

    out: str
    err: str


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    hint: str | None = None,
    timeout_s: float = 600,
) -> str:
    """Run *argv* as `complete` does and return what it wrote to standard output."""
    return complete(argv, cwd=cwd, env=env, hint=hint, timeout_s=timeout_s).out


def run_bytes(
    argv: Sequence[str], *, environment: Mapping[str, str] | None = None, timeout_s: float = 600
) -> bytes:
    """
    Run *argv* as `complete` does and return what it wrote to standard output, in whatever encoding.

    Args:
        argv: Program and arguments; the program is looked up on PATH.
        environment: All that it is given; None for this process's own.
        timeout_s: Seconds after which it is killed.

    Raises:
        ToolError: It is missing, failed, or took too long.
    """
    return _completed(argv, env=environment, timeout_s=timeout_s).stdout


def complete(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    hint: str | None = None,
    timeout_s: float = 600,
) -> Done:
    """
    Run *argv* to its end and return what it wrote.

    Args:
        argv: Program and arguments; the program is looked up on PATH.
        cwd: Folder to run in.
        env: Variables added to this process's environment.
        hint: What a person can do if the program is missing.
        timeout_s: Seconds after which it is killed.

    Raises:
        ToolError: It is missing, failed, or took too long.
    """
    environment = None if env is None else {**os.environ, **env}
    done = _completed(argv, cwd=cwd, env=environment, hint=hint, timeout_s=timeout_s)
    return Done(done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def _completed(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None,
    timeout_s: float,
    cwd: Path | None = None,
    hint: str | None = None,
) -> "subprocess.CompletedProcess[bytes]":
    try:
        done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, check=False, timeout=timeout_s)
    except FileNotFoundError as error:
        raise ToolError(argv, status=None, hint=hint) from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(argv, status=-9, output=f"still running after {timeout_s:g} s") from error
    except OSError as error:
        raise ToolError(argv, status=126, output=error.strerror or str(error), hint=hint) from error
    if done.returncode != 0:
        output = (done.stderr or done.stdout).decode(errors="replace")
        raise ToolError(argv, status=done.returncode, output=output)
    return done


def is_installed(tool: str) -> bool:
    """Return whether *tool* is a program on PATH (or an executable's path)."""
    return shutil.which(tool) is not None
