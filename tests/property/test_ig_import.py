"""What holds of every stream that is imported, whatever it is made of."""

import json
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from services.ig_output import event

from gadgetops.recording.ig.importer import Importer, Summary, import_header
from gadgetops.recording.ig.parts import line_ends, split_lines, split_members
from gadgetops.recording.ig.stack import parse_stack
from gadgetops.recording.operations import NAMES as OPERATIONS
from gadgetops.recording.reader import open_recording
from gadgetops.recording.writer import RecordingWriter

PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"\n", b"{\n", b"}\n", b"---\n", b"addr: 5\n", b"{", b"}", b'","', b"\r", b"\x1f\x8b"]),
    st.sampled_from([b'time="x" level=warning msg="lost 3 samples"\n', b"WARN[0001] x\n", b"&a [*a]\n"]),
)
EVENTS = st.fixed_dictionaries(
    {
        "addr": st.integers(0, 2**64 - 1),
        "size": st.integers(0, 2**64 - 1),
        "operation": st.sampled_from(OPERATIONS),
        "timestamp_raw": st.integers(0, 2**63 - 1),
        "lost": st.one_of(st.none(), st.integers(0, 2**40)),
        "pid": st.integers(0, 2**31 - 1),
        "comm": st.text(max_size=15),
    }
)
GARBAGE = st.binary(min_size=1, max_size=60).filter(lambda data: b"\n" not in data and data.strip())


CONTAINERS = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"runtime": st.fixed_dictionaries({"containerName": st.sampled_from("ab")})}),
    st.fixed_dictionaries({"k8s": st.fixed_dictionaries({"podName": st.text(max_size=5)})}),
)
STACKS = st.one_of(
    st.none(),
    st.fixed_dictionaries({"inode": st.integers(0, 1)}),
    st.lists(st.integers(0, 2**64 - 1), max_size=4).map(
        lambda addresses: {"inode": 1, "addresses": "".join(f"{address:#018x}; " for address in addresses)}
    ),
    st.lists(st.text("abc", min_size=1, max_size=3), max_size=3).map(
        lambda names: {"symbols": "".join(f"{name}; " for name in names)}
    ),
)
WHOLE_EVENTS = st.tuples(EVENTS, CONTAINERS, STACKS, st.sampled_from([*OPERATIONS, "strdup", "size", "zz"]))
LOGGED = b'time="x" level=info msg="started"\n'
TABLES = ("events", "processes", "stacks", "frames", "modules", "symbols")


def recorded(data: bytes) -> tuple[dict[str, Any], list[list[tuple[Any, ...]]]]:
    """Return the counters and all rows of a recording of *data*."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.gadgetrec"
        importer = Importer(lambda: RecordingWriter.create(path, import_header("test")), source="test")
        importer.feed(data)
        summary = importer.finish("complete")
        with open_recording(path).connect() as connection:
            rows = [connection.execute(f"select * from {table} order by all").fetchall() for table in TABLES]
        return summary.counters(), rows


def imported(portions: list[bytes]) -> tuple[Summary, list[tuple[Any, ...]]]:
    """Return what an import says, and the address, size and process of its events in their order."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.gadgetrec"
        importer = Importer(lambda: RecordingWriter.create(path, import_header("test")), source="test")
        for portion in portions:
            importer.feed(portion)
        summary = importer.finish("complete")
        if not path.exists():
            return summary, []
        with open_recording(path).connect() as connection:
            query = "select address, size_bytes, pid from events order by seq"
            return summary, connection.execute(query).fetchall()


def printed(members: dict[str, Any]) -> bytes:
    """Return an event as ig prints it."""
    rest = {name: value for name, value in members.items() if name not in ("pid", "comm")}
    if rest["lost"] is None:
        del rest["lost"]
    document = event(proc={"pid": members["pid"], "comm": members["comm"]}, **rest)
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def expected(members: dict[str, Any]) -> tuple[int, int, int]:
    """Return what a recording has of an event: addresses by their bits, sizes cut at the largest number."""
    address = members["addr"] - (1 << 64) if members["addr"] >= 1 << 63 else members["addr"]
    return address, min(members["size"], (1 << 63) - 1), members["pid"]


class TestArbitraryBytes:
    """Arbitrary bytes are counted, or are events; they never end an import."""

    @settings(max_examples=150, deadline=None)
    @given(portions=st.lists(PIECES, max_size=12))
    def test_any(self, portions: list[bytes]):
        """In any portions."""
        summary, events = imported(portions)
        assert summary.n_events == len(events)
        assert summary.lost >= summary.n_unreadable

    @settings(max_examples=150, deadline=None)
    @given(portions=st.lists(PIECES, max_size=12))
    def test_how_they_arrive_does_not_matter(self, portions: list[bytes]):
        """One portion or many give the same."""
        (whole, events), (parts, same_events) = imported([b"".join(portions)]), imported(portions)
        assert events == same_events
        assert whole.counters() == parts.counters()


class TestLines:
    """Each valid line is one event, each other line is counted, in the order of the stream."""

    @settings(max_examples=60, deadline=None)
    @given(stream=st.lists(st.one_of(EVENTS, GARBAGE), max_size=30))
    def test_between_garbage(self, stream: list[dict[str, Any] | bytes]):
        """Events out = valid lines in."""
        head = printed(
            {"addr": 1, "size": 1, "operation": "free", "timestamp_raw": 1, "lost": 0, "pid": 1, "comm": ""}
        )
        garbage = [each for each in stream if isinstance(each, bytes)]
        lines = [each + b"\n" if isinstance(each, bytes) else printed(each) for each in stream]
        summary, events = imported([head, *lines])
        assert events[1:] == [expected(each) for each in stream if isinstance(each, dict)]
        assert summary.n_unreadable == len(garbage)

    @settings(max_examples=60, deadline=None)
    @given(events=st.lists(EVENTS, min_size=1, max_size=8), cut=st.data())
    def test_cut_anywhere(self, events: list[dict[str, Any]], cut: st.DataObject):
        """A prefix of a stream gives a prefix of its events."""
        data = b"".join(map(printed, events))
        length = cut.draw(st.integers(0, len(data)))
        _, found = imported([data[:length]])
        assert found == [expected(each) for each in events][: len(found)]
        assert len(found) in (data[:length].count(b"\n"), data[:length].count(b"\n") + 1)


class TestManyAtATime:
    """Lines decoded together and the same lines decoded one by one are the same recording."""

    @settings(max_examples=15, deadline=None)
    @given(events=st.lists(WHOLE_EVENTS, min_size=1, max_size=25))
    def test_the_same_rows(self, events: list[tuple[Any, ...]]):
        """A log line has its block decoded one by one; members in another order are told apart by name."""
        documents = [
            {**members, **container, "operation": operation, "ustack": stack}
            for members, container, stack, operation in events
        ]
        lines = [printed(document) for document in documents]
        block = b"".join(lines)
        reordered = b"".join(
            json.dumps(dict(reversed(json.loads(each).items()))).encode() + b"\n" for each in lines
        )
        assert recorded(block) == recorded(LOGGED + block) == recorded(reordered)
        assert split_members(LOGGED + block) is None
        assert split_members(reordered) is not None
        is_small = all(max(each["addr"], each["size"]) < 10**19 for each in documents)
        assert (split_lines(block, line_ends(block)) is not None) == is_small


@given(texts=st.tuples(*[st.text(max_size=60)] * 3))
def test_stacks_are_frames_or_refused(texts: tuple[str, str, str]):
    """The three strings of a stack may hold anything."""
    try:
        frames = parse_stack(*texts)
    except ValueError:
        return
    assert all(frame.address >= 0 for frame in frames)
    msgspec.json.encode([frame.function for frame in frames])
