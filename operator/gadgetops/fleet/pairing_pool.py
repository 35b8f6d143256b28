"""Pair many recordings at once, each in a process of its own, before they are asked together."""

import contextlib
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Final

from gadgetops.errors import GadgetOpsError
from gadgetops.pairing.pairs import extend, is_paired
from gadgetops.pairing.progress import listener
from gadgetops.recording.reader import Recording

_MOST_PROCESSES: Final = 8
"""Pairing takes up to 0.7 GB each."""
_WORTH_A_POOL: Final = 4
"""So many recordings take longer to pair than processes take to start."""


def pair_all(recordings: Sequence[Recording]) -> None:
    """
    Pair those of *recordings* that are not paired yet, as far as that can be done.

    What cannot be paired is found out again, with its reason, when it is asked.
    """
    todo = [each.path for each in recordings if not is_paired(each)]
    n_processes = min(os.cpu_count() or 1, _MOST_PROCESSES, len(todo))
    if n_processes < 2 or len(todo) < _WORTH_A_POOL:
        return
    report = listener.get()
    # Spark and DuckDB have threads, which a fork would cut.
    with ProcessPoolExecutor(n_processes, multiprocessing.get_context("spawn")) as pool:
        pending = [pool.submit(_pair, path) for path in todo]
        for n_done, _ in enumerate(as_completed(pending)):
            report(n_done, len(todo))
    report(len(todo), len(todo))


def _pair(path: Path) -> None:
    with contextlib.suppress(GadgetOpsError, OSError):
        extend(path)
