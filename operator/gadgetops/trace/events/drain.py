"""
Emptying the ring buffer beside the work with what it held: a helper process that does nothing else.

The program that is recorded does not wait for the recorder, and what does not fit into the ring buffer is
lost. Turning events into a recording goes in bursts, and holds the interpreter at times: new stacks, segments
that are written, modules that are imported. The helper shares none of that, and is there before the program
begins.
"""

import contextlib
import os
import select
import struct
from collections.abc import Callable
from typing import Final

from gadgetops.errors import TraceError
from gadgetops.trace.events.ring import RingBuffer
from gadgetops.trace.events.spool import Place, Spool
from gadgetops.trace.helper import HelperProcess

_IDLE_S: Final = 0.002
_WORTH_A_PIECE: Final = 16
"""While older records wait, fewer than this part of the ring buffer stay there."""
_MOST_LEFT_BYTES: Final = 1 << 20
"""As above, at most."""
_PLACE: Final = struct.Struct("=QQQ")
_FAILURE: Final = b"!"
"""Begins an answer that is no place: the helper's last words follow."""
_TAKEN, _STOP = b"t", b"s"
_ORDERS_AT_ONCE: Final = 4096
_FILLING, _EMPTYING = 3 / 4, 1 / 4
"""The parts of the ring buffer in use at which `Drain` asks for events alone, and for all again."""


class Drain:
    """
    Empties a ring buffer into *spool* until it is stopped. Use as a context manager.

    Enter it before there are other threads and before probes are attached.

    Args:
        ring_fd: The ring buffer; read by nobody else meanwhile.
        ring_bytes: Its size.
        event_bytes: Length of an event without header.
        spool: Takes what is read until it is taken.
        pause: Set here while the ring buffer fills: the gadget then sends events alone. A 4-byte word, if
            the gadget has it.
        reader: Makes what reads the ring buffer, of the first three arguments.
    """

    def __init__(
        self,
        ring_fd: int,
        ring_bytes: int,
        event_bytes: int,
        spool: Spool,
        pause: memoryview | None = None,
        *,
        reader: Callable[[int, int, int], RingBuffer] = RingBuffer,
    ) -> None:
        self._reader = reader
        self._ring = ring_fd, ring_bytes, event_bytes
        self._spool = spool
        self._pause = memoryview(bytearray(4)) if pause is None else pause
        self._helper: HelperProcess
        self._owes_room = False
        self._has_ended = False
        self.is_stopping = False
        """Whether it was told to stop: nothing is added to the ring buffer any more."""

    def __enter__(self) -> "Drain":
        self._helper = HelperProcess(self._run)
        os.set_blocking(self._helper.answers, False)
        return self

    def __exit__(self, *_: object) -> None:
        self._helper.close()

    def stop(self) -> None:
        """Read what is left in the ring buffer, to which nothing is added any more, and end."""
        if not self.is_stopping:
            self.is_stopping = True
            os.set_blocking(self._helper.answers, True)
            self._order(_STOP)

    def take(self) -> memoryview | None:
        """
        Return the oldest records that were read, which are there until the next call.

        None if there are none now; once it was told to stop, None if there are none left.

        Raises:
            TraceError: The helper failed.
        """
        if self._owes_room:
            self._owes_room = False
            self._order(_TAKEN)
        if self._has_ended:
            return None
        try:
            answer = os.read(self._helper.answers, _PLACE.size)
        except BlockingIOError:
            return None
        if len(answer) == _PLACE.size and not answer.startswith(_FAILURE):
            self._owes_room = True
            return self._spool.get(Place(*_PLACE.unpack(answer)))
        self._has_ended = True
        if answer or not self.is_stopping:
            raise TraceError(f"the ring buffer is not read any more: {self._last_words(answer)}")
        # Its memory is gone before the recorder takes more to end the recording.
        self._helper.close()
        return None

    def _last_words(self, answer: bytes) -> str:
        os.set_blocking(self._helper.answers, True)
        while part := os.read(self._helper.answers, 4096):
            answer += part
        return answer.removeprefix(_FAILURE).decode(errors="replace") or "its process was killed"

    def _order(self, order: bytes) -> None:
        # One that has ended has said why, or will be found to be silent.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._helper.orders, order)

    def _run(self, orders: int, answers: int) -> None:
        try:
            ring = self._reader(*self._ring)
            _Emptying(ring, self._spool, self._pause.cast("I"), orders, answers).to_its_end()
        except Exception as error:
            os.write(answers, _FAILURE + str(error).encode())


class _Emptying:
    """The helper's work."""

    def __init__(self, ring: RingBuffer, spool: Spool, pause: memoryview, orders: int, answers: int) -> None:
        self._ring = ring
        self._spool = spool
        self._pause = pause
        self._orders = orders
        self._answers = answers
        self._n_waiting = 0
        self._is_stopping = False
        self._is_left_alone = False
        self._poll = select.poll()
        self._poll.register(orders, select.POLLIN)
        self._worth_a_piece_bytes = min(_MOST_LEFT_BYTES, ring.room_bytes // _WORTH_A_PIECE)

    def to_its_end(self) -> None:
        """Empty the ring buffer until told to stop, and then what is left in it."""
        has_passed_on = True
        while not self._is_left_alone:
            self._take_orders(0 if has_passed_on else _IDLE_S)
            self._ask_for_less_or_more()
            has_passed_on = self._has_passed_on()
            if self._is_stopping and not self._ring.read():
                return

    def _take_orders(self, wait_s: float) -> None:
        """Do what was ordered by now; where nothing was, wait so long for it."""
        if not self._poll.poll(wait_s * 1000):
            return
        orders = os.read(self._orders, _ORDERS_AT_ONCE)
        self._is_left_alone = not orders
        self._is_stopping |= _STOP in orders
        for _ in range(orders.count(_TAKEN)):
            self._spool.free_oldest()
            self._n_waiting -= 1

    def _ask_for_less_or_more(self) -> None:
        """Have the gadget send events alone while there is room for many of them but for few stacks."""
        in_use, room = self._ring.size_bytes, self._ring.room_bytes
        if in_use > room * _FILLING:
            self._pause[0] = 1
        elif in_use < room * _EMPTYING:
            self._pause[0] = 0

    def _has_passed_on(self) -> bool:
        """Pass on what is in the ring buffer, if it is worth it; return whether there was anything."""
        if self._n_waiting and not self._is_stopping and self._ring.size_bytes < self._worth_a_piece_bytes:
            return False
        records = self._ring.read()
        if not records:
            return False
        place = self._spool.put(records)
        if place is None:
            return False
        self._ring.free(len(records))
        os.write(self._answers, _PLACE.pack(*place))
        self._n_waiting += 1
        return True
