"""Pieces of a stream to columns of a recording; what repeats is decoded once."""

import re
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import yaml
from numpy.typing import NDArray

from gadgetops.recording.ig.event import Context, Document, Moment, Place, Stack, moment
from gadgetops.recording.ig.parts import Parts, split_lines, split_members
from gadgetops.recording.ig.registry import Registry, Who

_CACHE_BYTES: Final = 48 << 20
"""How many bytes of repeating text are remembered, of contexts and of stacks; then they are begun anew."""

_YAML_SCALAR: Final = re.compile(
    rb'^(addr|size|timestamp|timestamp_raw): ("?)([0-9TZ:.+-]+)\2\n', re.MULTILINE
)
_YAML_STACK: Final = re.compile(rb"^ustack:[^\n]*\n(?: [^\n]*\n)*", re.MULTILINE)
_YAML_LOADER: Final = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""Leaves every scalar a text: what is a number, the fields say."""

Columns = dict[str, NDArray[Any]]


class _Tail(msgspec.Struct):
    ustack: Stack | None = None


class _Document(Context, kw_only=True):
    """A whole event whose stack is not looked into: most come again."""

    ustack: msgspec.Raw = msgspec.Raw(b"null")


_NAMES: Final = frozenset(Document.__struct_fields__)
_TAIL_NAMES: Final = frozenset({"addr", "ustack"})
_CONTEXT_NAMES: Final = _NAMES - {*Place.__struct_fields__, "ustack"} | {"addr"}
_ANY_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Event(NamedTuple):
    """One event, with the numbers that the registry gave to what it refers to."""

    moment: Moment
    who: Who
    stack_id: int


class _Cache:
    """Text -> what it was decoded to, bounded in bytes."""

    def __init__(self) -> None:
        self.values: dict[bytes, Any] = {}
        self._n_bytes = 0

    def add(self, text: bytes, value: Any) -> None:
        self._n_bytes += 0 if text in self.values else len(text)
        self.values[text] = value

    def trim(self) -> bool:
        """Forget everything if it is too much, and return whether it was."""
        is_full = self._n_bytes > _CACHE_BYTES
        if is_full:
            self.values.clear()
            self._n_bytes = 0
        return is_full


class Decoder:
    """
    Decodes pieces of one stream.

    Args:
        registry: Numbers what the events refer to.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._contexts = _Cache()
        self._stacks = _Cache()
        self._yaml = _Cache()
        self._whos: list[Who] = []
        """What the contexts are; `_contexts` has their places in it."""
        self._who_of = np.empty((0, len(Who._fields)), np.int64)
        self._document = msgspec.json.Decoder(_Document)
        self._context = msgspec.json.Decoder(Context)
        self._tail = msgspec.json.Decoder(_Tail)

    def lines(self, block: bytes, ends: NDArray[np.int64]) -> Columns | None:
        """Return the events of *block*, lines that end at *ends*; None if they must be decoded one by one."""
        events = self._events(split_lines(block, ends)) or self._events(split_members(block))
        self._stacks.trim()
        if self._contexts.trim():
            self._whos.clear()
            self._who_of = self._who_of[:0]
        return events

    def json(self, data: bytes) -> Event:
        """Return the event that *data* is. Raises `ValueError` or `msgspec.MsgspecError` if it is none."""
        document = self._document.decode(data)
        when = moment(document)
        context = document.checked()
        stack_id = self._stack(document.ustack, when.timestamp_ns)
        return Event(when, self._registry.who(context, when.timestamp_ns), stack_id)

    def yaml(self, data: bytes) -> Event:
        """
        Return the event that the YAML document *data* is.

        Raises:
            ValueError, msgspec.MsgspecError, yaml.YAMLError: It is none.
        """
        self._yaml.trim()
        self._stacks.trim()
        rest = _YAML_SCALAR.sub(b"", data)
        context, stack = _YAML_STACK.sub(b"", rest), b"".join(_YAML_STACK.findall(rest))
        if context not in self._yaml.values or stack not in self._stacks.values:
            event = self._from_document(_from_yaml(data))
            self._yaml.add(context, event.who)
            self._stacks.add(stack, event.stack_id)
            return event
        scalars = {name.decode(): text.decode() for name, _, text in _YAML_SCALAR.findall(data)}
        when = moment(msgspec.convert(scalars, Place, strict=False))
        return Event(when, self._yaml.values[context], self._stacks.values[stack])

    def _from_document(self, document: Document) -> Event:
        when = moment(document)
        context = document.checked()
        stack_id = self._registry.stack(document.ustack, when.timestamp_ns)
        return Event(when, self._registry.who(context, when.timestamp_ns), stack_id)

    def _events(self, parts: Parts | None) -> Columns | None:
        """Return the events of *parts*; None if a text of theirs does not belong there."""
        try:
            return parts and self._columns(parts)
        except (msgspec.MsgspecError, ValueError):
            return None

    def _columns(self, parts: Parts) -> Columns:
        if int(parts.timestamp_ns.max()) >= 1 << 63:
            raise ValueError("timestamp_raw: too large")
        stack_ids = self._looked_up(self._stacks, parts.stacks, parts)
        places = self._looked_up(self._contexts, parts.contexts, parts)
        self._who_of = np.concatenate((self._who_of, _table(self._whos[len(self._who_of) :])))
        table = self._who_of[places]
        return {
            "timestamp_ns": parts.timestamp_ns,
            "pid": table[:, 0],
            "tid": table[:, 1],
            "operation": table[:, 2],
            "address": parts.address,
            "size_bytes": parts.size_bytes,
            "stack_id": np.array(stack_ids, np.int32),
            "lost": table[:, 3],
        }

    def _looked_up(self, cache: _Cache, texts: list[bytes], parts: Parts) -> list[int]:
        """Return what *texts* were decoded to; those that are new are decoded now."""
        values = cache.values
        found: list[int] = list(map(values.get, texts))  # type: ignore[arg-type]
        if None not in found:
            return found
        decode = self._decode_context if cache is self._contexts else self._decode_tail
        for text, timestamp_ns in zip(texts, parts.timestamp_ns, strict=True):
            if text not in values:
                cache.add(text, decode(text, int(timestamp_ns)))
        return [values[text] for text in texts]

    def _stack(self, text: msgspec.Raw, timestamp_ns: int) -> int:
        """Return the number of the stack that *text* is; remembered as those of lines are."""
        tail = b',"ustack":' + bytes(text)
        if tail not in self._stacks.values:
            self._stacks.trim()
            self._stacks.add(tail, self._decode_tail(tail, timestamp_ns))
        number: int = self._stacks.values[tail]
        return number

    def _decode_context(self, text: bytes, timestamp_ns: int) -> int:
        context = self._context.decode(_object(text, _CONTEXT_NAMES)).checked()
        self._whos.append(self._registry.who(context, timestamp_ns))
        return len(self._whos) - 1

    def _decode_tail(self, text: bytes, timestamp_ns: int) -> int:
        return self._registry.stack(self._tail.decode(_object(text, _TAIL_NAMES)).ustack, timestamp_ns)


def columns(events: list[Event], lost: list[int]) -> Columns:
    """Return *events* as columns; *lost* is what each adds to its own count."""
    whos = _table([event.who for event in events])
    return {
        "timestamp_ns": np.array([event.moment.timestamp_ns for event in events], np.uint64),
        "pid": whos[:, 0],
        "tid": whos[:, 1],
        "operation": whos[:, 2],
        "address": np.array([event.moment.address for event in events], np.uint64),
        "size_bytes": np.array([event.moment.size_bytes for event in events], np.uint64),
        "stack_id": np.array([event.stack_id for event in events], np.int32),
        "lost": whos[:, 3] + np.array(lost, np.int64),
    }


def _object(text: bytes, names: frozenset[str]) -> bytes:
    """
    Return the members *text* as an object.

    Raises:
        ValueError, msgspec.MsgspecError: One stands elsewhere in a line of `ig`, or it is not JSON.
    """
    data = b'{"addr":0' + text + b"}"
    if not _NAMES.isdisjoint(_ANY_OBJECT.decode(data).keys() - names):
        raise ValueError("a member is out of place")
    return data


def _table(whos: list[Who]) -> NDArray[np.int64]:
    return np.array(whos, np.int64).reshape(-1, len(Who._fields))


def _from_yaml(data: bytes) -> Document:
    return msgspec.convert(yaml.load(data, Loader=_YAML_LOADER), Document, strict=False)  # noqa: S506 - texts only
