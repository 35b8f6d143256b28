"""What ig logs, told from what it prints as events."""

import pytest

from gadgetops.recording.ig.log import LogLine, parse_log_line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            b'time="2026-11-22T20:07:17Z" level=warning msg="lost 12 samples"\n',
            ("warning", "lost 12 samples"),
        ),
        (b"time=2026-11-22T20:07:17Z level=info msg=started", ("info", "started")),
        (b'time="x" level=error msg="no \\"x\\" here" extra=1', ("error", 'no "x" here')),
        (b"WARN[0003] lost 12 samples", ("warning", "lost 12 samples")),
        (b"\x1b[33mWARN\x1b[0m[0003] lost 12 samples", ("warning", "lost 12 samples")),
        (b"Error: running gadget: no such image", ("error", "running gadget: no such image")),
    ],
)
def test_log_lines_of_files_and_terminals_are_known(line: bytes, expected: tuple[str, str]):
    """logrus writes two forms, the command line a third."""
    assert LogLine(*expected) == parse_log_line(line)


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"addr: 5", b"\xff\xfe", b"time flies", b"RUNTIME.CONTAINERNAME"]
)
def test_other_lines_are_none(line: bytes):
    """An event, or garbage, is never taken for a log line."""
    assert parse_log_line(line) is None


def test_losses_of_the_kernel_and_of_the_network_are_told_apart():
    """The first may be counted by the gadget as well, the second is not."""
    assert LogLine("warning", "reading event: lost 12 samples").lost_in_kernel == 12
    assert LogLine("warning", "node-1 | expected seq 3, got 10, 7 messages dropped").dropped == 7
    assert (LogLine("info", "lost hope").lost_in_kernel, LogLine("info", "ok").dropped) == (0, 0)
