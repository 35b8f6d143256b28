"""Listeners for the progress of pairing and of cluster queries; imports nothing, so every verb can listen."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

OnProgress = Callable[[int, int], None]
"""Told how many segments are paired, of how many; equal numbers are the end."""

listener: Final[ContextVar[OnProgress]] = ContextVar("listener", default=lambda _done, _of: None)
"""The listener of this thread; deep calls need not hand it on."""

query_listener: Final[ContextVar[OnProgress]] = ContextVar("query_listener", default=lambda _done, _of: None)
"""Told how many tasks of a query over a cluster have run, of how many; equal numbers are the end."""
