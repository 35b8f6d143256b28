"""A command with the library in it, and in what it starts."""

import contextlib
import os
from collections.abc import Iterator, Sequence

from gadgetops.trace.preload.coverage import obstacle_of
from gadgetops.trace.preload.source import PreloadSource
from gadgetops.trace.preload.tracker import ReportedSpaces
from gadgetops.trace.targets.base import StartedCommand


class PreloadedCommand(StartedCommand):
    """
    A command that preloads the library.

    Args:
        argv: The command.
        with_children: Record what it starts, too.

    Raises:
        NoSuchProgram: There is no such program.
        NotExecutable: The kernel will refuse it.
    """

    def __init__(self, argv: Sequence[str], *, with_children: bool) -> None:
        super().__init__(argv, with_children=with_children)
        self._obstacle = obstacle_of(argv)
        if self._obstacle is not None:
            self.description["unseen"] = self._obstacle.reason

    @contextlib.contextmanager
    def prepared(self, source: PreloadSource, tracker: ReportedSpaces) -> Iterator[None]:
        """Have the command ready to run, and *tracker* follow it."""
        is_alone = self._obstacle is not None and self._obstacle.refuses
        environment = {} if is_alone else source.environment(os.environ)
        with self._ready(copies={}, environment=environment):
            if not self._with_children:
                source.ring.set("only_pid", self.pid)
            self._tracker = tracker
            tracker.follow(self.pid)
            yield
