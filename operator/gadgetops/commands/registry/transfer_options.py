"""What the verbs that copy images share: options, the progress line, the sentence at the end."""

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gadgetops.commands.common import messages
from gadgetops.commands.common.progress_line import ProgressLine
from gadgetops.commands.options.registry_options import registry_options
from gadgetops.commands.options.store_option import store_option
from gadgetops.oci.location import Location
from gadgetops.oci.registry.access import Access
from gadgetops.units import format_bytes, plural

if TYPE_CHECKING:
    from gadgetops.oci.copying.copy_image import Copied, Watch
    from gadgetops.oci.copying.endpoints import Origin
    from gadgetops.oci.signing.keys import PublicKey

_platform = click.option(
    "--platform",
    "platforms",
    metavar="OS/ARCH",
    multiple=True,
    help="Only this platform, such as linux/arm64, in an index of its own; may be given several times.",
)
_referrers = click.option(
    "--no-referrers",
    "with_referrers",
    is_flag=True,
    flag_value=False,
    default=True,
    help="Leave signatures and whatever else is attached behind.",
)


@dataclass(frozen=True)
class Transfer:
    """
    How images are copied: what the options of `pull`, `push` and `copy` say.

    Attributes:
        platforms: Only these, all if there are none.
        with_referrers: Whether signatures and what else is attached come along.
        store: Which store is meant.
        access: How registries are reached.
    """

    platforms: tuple[str, ...]
    with_referrers: bool
    store: str
    access: Access

    def run(
        self, verb: str, source: Location, destination: Location, *, key_files: Sequence[Path] = ()
    ) -> None:
        """
        Copy the image at *source* to *destination*, saying how it goes; its name there is the result.

        With *key_files* nothing reaches *destination* that one of these public keys does not verify.
        """
        from gadgetops.oci.copying.copy_image import copy_image
        from gadgetops.oci.copying.endpoints import open_goal, open_origin

        keys = _read_keys(key_files)
        with (
            open_origin(source, store=self.store, access=self.access) as found,
            _verified(found, keys, str(source.name or source)) as origin,
            open_goal(destination, origin, store=self.store, access=self.access) as goal,
            _progress(verb) as watch,
        ):
            copied = copy_image(
                origin,
                goal,
                platforms=self.platforms,
                with_referrers=self.with_referrers,
                watch=watch,
            )
        if copied.n_left_behind:
            messages.warn(_left_behind(copied))
        messages.say(_sentence(copied))
        click.echo(goal.shown if "@" in goal.shown else f"{goal.shown}@{copied.root.digest}")


def transfer_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to *function*, which gets what they say as the argument `transfer`."""

    @functools.wraps(function)
    def with_transfer(
        *arguments: Any,
        platforms: tuple[str, ...],
        with_referrers: bool,
        store: str,
        access: Access,
        **options: Any,
    ) -> Any:
        transfer = Transfer(platforms, with_referrers, store, access)
        return function(*arguments, transfer=transfer, **options)

    return _platform(_referrers(registry_options(store_option(with_transfer))))


def _read_keys(files: Sequence[Path]) -> list["PublicKey"]:
    if not files:
        return []
    from gadgetops.commands.options.key_option import read_public_key

    return [read_public_key(path) for path in files]


@contextlib.contextmanager
def _verified(origin: "Origin", keys: Sequence["PublicKey"], what: str) -> Iterator["Origin"]:
    """Yield *origin* as it is if there are no *keys*, else a copy of it that one of them verifies."""
    if not keys:
        yield origin
        return
    from gadgetops.oci.signing.arrival import verified_arrival

    with contextlib.ExitStack() as stack:
        with _progress(f"verify {what}") as watch:
            arrived = stack.enter_context(verified_arrival(origin, keys, what=what, watch=watch))
        messages.say(f"verified {what} ({origin.root.digest})")
        yield arrived


def _left_behind(copied: "Copied") -> str:
    return (
        f"the index of these platforms alone is a new one: {plural(copied.n_left_behind, 'signature')} "
        "or other referrer of the whole left behind"
    )


def _sentence(copied: "Copied") -> str:
    parts = [f"copied {plural(copied.n_sent, 'blob')} ({format_bytes(copied.sent_bytes)})"]
    if copied.n_present:
        parts.append(f"{copied.n_present} were there already")
    if copied.n_attached:
        parts.append(f"with {plural(copied.n_attached, 'signature')} or other referrer")
    return ", ".join(parts)


class _Progress:
    """How a copy goes, in a line on a terminal; a `Watch`."""

    def __init__(self, what: str, line: ProgressLine) -> None:
        self._what, self._line = what, line
        self._lock = threading.Lock()
        self._copied_bytes, self._total_bytes = 0, 0
        self._started_s = time.monotonic()

    def begin(self, total_bytes: int) -> None:
        """Remember how much is to be copied."""
        self._total_bytes = total_bytes

    def advance(self, size_bytes: int) -> None:
        """Write how much has been copied, and how fast."""
        with self._lock:
            self._copied_bytes += size_bytes
            seconds = max(time.monotonic() - self._started_s, 1e-3)
            copied, total = format_bytes(self._copied_bytes), format_bytes(self._total_bytes)
            rate = format_bytes(int(self._copied_bytes / seconds))
            self._line.stage(f"{self._what}: {copied} of {total}, {rate} a second")


@contextlib.contextmanager
def _progress(what: str) -> Iterator["Watch | None"]:
    """Yield what says how a copy goes, on a terminal; None elsewhere and with `--quiet`."""
    with ProgressLine() as line:
        yield _Progress(what, line) if line.wants_progress else None
