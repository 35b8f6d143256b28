"""From what ig printed to a recording: nothing is made up, and nothing is left out without a word."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from services.ig_output import SAMPLES, Imported, event, line

from gadgetops.errors import IgOutputError
from gadgetops.recording.ig.documents import MAX_DOCUMENT_BYTES
from gadgetops.recording.ig.parts import line_ends, split_lines, split_members

Import = Callable[..., Imported]

KNOWN_CALLS = {
    "calloc": (1, 100),
    "free": (30, 0),
    "malloc": (34, 6325),
    "posix_memalign": (1, 4096),
    "realloc": (1, 8192),
    "realloc_free": (1, 0),
}
LOG_LINE = b'time="2026-11-22T20:07:17Z" level=warning msg="reading event: lost 12 samples"\n'


class TestForms:
    """The known calls of one program come out of every form in which ig prints them."""

    @pytest.mark.parametrize("name", ["v0.48.json", "v0.48-ustack.json", "v0.48.jsonpretty", "v0.48.yaml"])
    def test_whole(self, imported: Import, name: str):
        """Count and bytes of each operation are those that the program called."""
        done = imported((SAMPLES / name).read_bytes())
        counted = done.rows("select operation, count(*), sum(size_bytes) from events group by operation")
        assert {operation: (count, size) for operation, count, size in counted} == KNOWN_CALLS
        assert (done.summary.n_unreadable, done.summary.failed_stacks) == (0, 0)

    @pytest.mark.parametrize("name", ["v0.48.json", "v0.48.jsonpretty", "v0.48.yaml"])
    @pytest.mark.parametrize("n_bytes", [1, 7, 4096])
    def test_in_portions(self, imported: Import, name: str, n_bytes: int):
        """A pipe may cut the stream anywhere."""
        data = (SAMPLES / name).read_bytes()[:9000]
        portions = (data[start : start + n_bytes] for start in range(0, len(data), n_bytes))
        query = "select * from events"
        assert imported(data).rows(query) == imported(portions).rows(query)

    def test_stacks_of_addresses(self, imported: Import):
        """Equal stacks have one number; addresses stand leaf first."""
        done = imported((SAMPLES / "v0.48-ustack.json").read_bytes())
        [(addresses,)] = done.rows(
            "select list(address order by place) from (select f.address, u.place from "
            "(select unnest(frame_ids) as frame_id, generate_subscripts(frame_ids, 1) as place "
            "from stacks where stack_id = 0) u join frames f using (frame_id))"
        )
        assert addresses == [0x55D1C674D1C5, 0x55D1C674D23E, 0x55D1C674D301, 0x7F369BB3B24A]
        assert done.rows("select count(*) from stacks") == [(8,)]


class TestFields:
    """What an event says is what the recording says."""

    def test_numbers_and_process(self, imported: Import):
        """Times stay nanoseconds since 1970."""
        done = imported(line(addr=2**64 - 1, size=5, timestamp_raw=7, proc={"pid": 3, "tid": 4, "comm": "x"}))
        columns = "timestamp_ns, pid, tid, operation, address, size_bytes, stack_id, lost"
        assert done.rows(f"select {columns} from events") == [(7, 3, 4, "malloc", -1, 5, -1, 0)]
        assert done.rows("select * from processes") == [(7, 3, "start", None, "x", None)]

    def test_a_time_as_text_is_enough(self, imported: Import):
        """A gadget may print the formatted time alone."""
        data = line(timestamp_raw=None, timestamp="2026-11-22T21:06:56.237326737+01:00")
        assert imported(data).rows("select timestamp_ns from events") == [(1795378016237326737,)]

    def test_pods_and_containers(self, imported: Import):
        """Processes are grouped by their container: namespace, pod and name, or the name alone."""
        pod = {"namespace": "shop", "podName": "web-1", "containerName": "app", "node": "n1"}
        runtime = {"containerName": "db", "containerImageName": "postgres:17"}
        done = imported(line(k8s=pod, proc={"pid": 1}) + line(runtime=runtime, proc={"pid": 2}))
        assert done.rows("select pid, container from processes") == [(1, "shop/web-1/app"), (2, "db")]
        assert done.header["containers"] == [
            {"container": "shop/web-1/app", "node": "n1", "namespace": "shop", "pod": "web-1"},
            {"container": "db", "image": "postgres:17"},
        ]

    @pytest.mark.parametrize("name", ["v0.48.json", "v0.48.yaml"])
    def test_unknown_operations_are_kept_and_named(self, imported: Import, name: str):
        """A gadget may trace what no answer knows yet."""
        data = (SAMPLES / name).read_bytes().replace(b"calloc", b"strdup")
        done = imported(data)
        assert done.summary.unknown_operations == ["strdup"]
        assert done.rows("select count(*) from events where operation = 'strdup'") == [(1,)]

    def test_a_number_names_the_operation(self, imported: Import):
        """ig prints UNKNOWN for what the gadget's enum does not name."""
        data = line(operation="UNKNOWN", operation_raw=77) + line(operation=None, operation_raw=11)
        assert imported(data).rows("select operation from events") == [("operation#77",), ("pvalloc",)]

    def test_any_number_of_unknown_operations_costs_one_segment(self, imported: Import):
        """Beyond a few they share a name."""
        done = imported(b"".join(line(operation=f"op{number}") for number in range(100)))
        assert done.rows("select count(distinct operation) from events") == [(17,)]
        assert len([*done.path.glob("events-*.parquet")]) == 1

    def test_functions_and_modules_of_stacks(self, imported: Import):
        """Names become symbols, build ids become modules with offsets."""
        build_id = "ab" * 20
        stack = {
            "inode": 5,
            "addresses": "0x1010; 0x2020; ",
            "buildid": f"{build_id} +10; 2020; ",
            "symbols": "inner; 0x2020; ",
        }
        done = imported(line(ustack=stack))
        columns = "address, module_offset, function, build_id"
        query = f"select {columns} from frames left join modules using (module_id) order by frame_id"
        assert [(0x1010, 0x10, "inner", build_id), (0x2020, None, None, None)] == done.rows(query)

    def test_a_stack_that_could_not_be_read_is_counted(self, imported: Import):
        """A collected stack without frames is told apart from none."""
        done = imported(line(ustack={"inode": 5, "stack_id": 7}) + line())
        assert done.rows("select stack_id from events") == [(-2,), (-1,)]
        assert done.header["counters"]["failed_stacks"] == 1


class TestLoss:
    """Each event carries how many are missing before it, and recording.json whether that is all."""

    def test_the_gadgets_own_count_is_kept(self, imported: Import):
        """Our gadget counts what it loses, so the loss is known."""
        done = imported(line(lost=0) + line(lost=3))
        assert done.rows("select lost from events") == [(0,), (3,)]
        assert done.header["counters"]["lost"] == 3

    def test_without_a_count_nobody_knows(self, imported: Import):
        """Upstream's gadget does not count."""
        done = imported(line(lost=0) + line())
        assert done.header["counters"]["lost"] is None

    def test_what_ig_logs_counts_from_there_on(self, imported: Import):
        """`ig run 2>&1` puts its log lines between the events."""
        done = imported(line() + LOG_LINE + line())
        assert done.rows("select lost from events") == [(0,), (12,)]
        assert done.header["counters"]["lost_at_least"] == 12
        assert done.header["import"]["messages"][0]["message"] == "reading event: lost 12 samples"
        assert done.summary.n_unreadable == 0

    def test_what_the_gadget_counts_is_not_counted_twice(self, imported: Import):
        """ig warns of the same loss that the gadget counts."""
        done = imported(line(lost=0) + LOG_LINE + line(lost=12))
        assert done.header["counters"]["lost"] == 12

    @pytest.mark.parametrize("name", ["v0.48.jsonpretty", "v0.48.yaml"])
    def test_log_lines_inside_of_an_event_do_no_harm(self, imported: Import, name: str):
        """Two streams into one pipe mix line by line."""
        lines = (SAMPLES / name).read_bytes().splitlines(keepends=True)
        done = imported(b"".join([*lines[:30], LOG_LINE, *lines[30:]]))
        assert (done.summary.n_events, done.summary.n_unreadable, done.summary.lost) == (68, 0, 12)


class TestUnreadable:
    """A line that is no event is counted, shown and taken for a lost event."""

    @pytest.mark.parametrize(
        ("bad", "reason"),
        [
            (b"garbage\n", "malformed"),
            (b"[]\n", "expected `object`"),
            (b"{}\n", "missing required field `proc`"),
            (line(addr=None), "has no field `addr`"),
            (line(addr="x"), "expected `int`, got `str`"),
            (line(addr=2**64), "addr: expected 0 to"),
            (line(addr=-5), "addr: expected 0 to"),
            (line(size=10**40), "size"),
            (line(proc={"pid": 2**31}), "proc.pid: expected 0 to"),
            (line(operation=None, operation_raw=None), "has no field `operation`"),
            (line(timestamp=None, timestamp_raw=None), "has no field `timestamp_raw`"),
            (line(ustack={"inode": 1, "addresses": "nonsense; "}), "expected an address"),
            (line()[:300] + line(), "malformed"),
        ],
    )
    def test_between_others(self, imported: Import, bad: bytes, reason: str):
        """The others are kept, in their order; the place and the reason are said."""
        done = imported(line(addr=1) + bad + line(addr=2))
        assert done.rows("select address, lost from events") == [(1, 0), (2, 1)]
        [problem] = done.summary.problems
        assert problem.line == 2
        assert reason in problem.reason

    def test_a_cut_last_line_is_said_to_be_cut(self, imported: Import):
        """A pipe's writer may have been killed."""
        done = imported(line() + line()[:200])
        assert [problem.reason for problem in done.summary.problems] == ["is cut off"]
        assert (done.summary.n_events, done.summary.lost) == (1, 1)

    def test_a_last_line_without_its_end_is_an_event(self, imported: Import):
        """Nothing is missing but the newline."""
        summary = imported(line() + line()[:-1]).summary
        assert (summary.n_events, summary.n_unreadable) == (2, 0)

    @pytest.mark.parametrize("name", ["v0.48.jsonpretty", "v0.48.yaml"])
    def test_in_the_other_forms(self, imported: Import, name: str):
        """One event is lost, with the line where it begins."""
        data = re.sub(rb'^( *"?)addr\b', rb"\1adxr", (SAMPLES / name).read_bytes(), count=1, flags=re.M)
        done = imported(data)
        assert (done.summary.n_events, done.summary.n_unreadable) == (67, 1)
        assert done.summary.problems[0].reason == "has no field `addr`"

    def test_a_line_without_end_does_not_fill_the_memory(self, imported: Import):
        """A file that is none of ig's may have no line at all; what follows it is read again."""
        noise = [b"x" * (1 << 20)] * 40
        done = imported([line(addr=1), *noise, b"\n" + line(addr=2) + b"?\n"])
        assert done.rows("select address from events") == [(1,), (2,)]
        assert [problem.line for problem in done.summary.problems] == [2, 4]
        assert len(noise) << 20 > MAX_DOCUMENT_BYTES

    def test_only_the_first_are_kept_and_all_are_counted(self, imported: Import):
        """A file of garbage does not become a header of garbage."""
        done = imported(line() + b"?\n" * 1000)
        assert (done.header["counters"]["unreadable"], len(done.header["import"]["unreadable"])) == (1000, 5)

    def test_strict_fails_with_the_place(self, imported: Import):
        """Source and line are in the error."""
        with pytest.raises(IgOutputError) as raised:
            imported(line() + b"?\n", strict=True)
        assert (raised.value.source, raised.value.line) == ("test", 2)

    def test_what_is_shown_obeys_no_terminal(self, imported: Import):
        """A line may hold anything."""
        done = imported(line() + b"\x1b]0;title\x07\xff\n")
        assert done.summary.problems[0].excerpt.isprintable()


class TestParts:
    """Blocks of lines are split many at a time; what is not of their shape is not split at all."""

    LINE = line(addr=7, size=8, timestamp_raw=9)

    @pytest.mark.parametrize("name", ["v0.48.json", "v0.48-ustack.json"])
    def test_lines_of_ig_are(self, name: str):
        """Both ways give the same numbers."""
        block = (SAMPLES / name).read_bytes()
        fast, slow = split_lines(block, line_ends(block)), split_members(block)
        assert fast is not None
        assert slow is not None
        numbers = [[*map(list, parts[:3])] for parts in (fast, slow)]
        assert numbers[0] == numbers[1]
        assert len(fast.address) == 68

    @pytest.mark.parametrize("name", ["v0.48.json", "v0.48-ustack.json"])
    def test_all_ways_of_decoding_agree(self, imported: Import, name: str):
        """Lines in another order, and lines that a log line made irregular, are the same events."""
        data = (SAMPLES / name).read_bytes()
        reordered = [json.dumps(dict(reversed(json.loads(each).items()))) for each in data.splitlines()]
        for query in ("select * from events", "select * from frames", "select * from processes"):
            rows = imported(data).rows(query)
            assert rows == imported("\n".join(reordered).encode()).rows(query)
            assert rows == imported(b"Warning: x\n" + data).rows(query)

    @pytest.mark.parametrize("place", ["k8s", "size", "timestamp", "timestamp_raw", "ustack"])
    @pytest.mark.parametrize("moved", ["ustack", "operation", "lost", "proc"])
    def test_no_member_is_overlooked(self, imported: Import, moved: str, place: str):
        """Wherever it stands."""
        members = event(ustack={"inode": 1, "addresses": "0x5; "}, lost=3, operation="free")
        value = members.pop(moved)
        items = [*members.items()]
        at = [*members, moved].index(place)
        shuffled = dict([*items[:at], (moved, value), *items[at:]])
        done = imported(json.dumps(shuffled, separators=(",", ":")).encode() + b"\n")
        columns = "stack_id, operation, lost, pid"
        expected = (0, "free", 3, shuffled["proc"]["pid"])
        assert done.rows(f"select {columns} from events") == [expected]
        assert done.summary.knows_lost

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b'{"addr":7', b'{"addr":07'),
            (b'{"addr":7', b'{"addr":'),
            (b'{"addr":7', b'{"addr":7.5'),
            (b'{"addr":7', b'{"addr":12345678901234567890'),
            (b'{"addr":7', b'{ "addr":7'),
            (b'"size":8', b'"size":-8'),
            (b'"size":8', b'"sise":8'),
            (b'"size":8', b'"a":{"b":1,"size":8},"size":8'),
            (b'"timestamp_raw":9', b'"timestamp_raw":9e3'),
            (b'"timestamp":"2', b'"timestamp":"\\"'),
            (b"}\n", b"} \n"),
            (b"}\n", b"}"),
        ],
    )
    def test_others_are_not(self, old: bytes, new: bytes):
        """One odd line leaves its block to the other decoders."""
        assert split_lines(self.LINE * 2, line_ends(self.LINE * 2)) is not None
        assert old in self.LINE
        block = self.LINE + self.LINE.replace(old, new)
        assert split_lines(block, line_ends(block)) is None


def test_an_event_of_no_recording_is_nowhere(imported: Import, tmp_path: Path):
    """Without events no folder is made."""
    assert imported(LOG_LINE).summary.n_events == 0
    assert [*tmp_path.iterdir()] == []


def test_the_events_of_one_process_in_two_containers_are_told_apart(imported: Import):
    """A process number comes back in another container."""
    done = imported(line(runtime={"containerName": "a"}) + line(runtime={"containerName": "b"}))
    assert done.rows("select container from processes") == [("a",), ("b",)]
