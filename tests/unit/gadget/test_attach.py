"""Which programs ig can attach."""

import pytest

from gadgetops.bpf.object import Program
from gadgetops.gadget.reading.attach import why_unattachable


def why(section: str, attach_to: str | None = None) -> str | None:
    return why_unattachable(Program("p", section, ()), attach_to, {"p": "map"})


@pytest.mark.parametrize(
    "section",
    [
        "uprobe/libc:malloc",
        "uretprobe/libc:malloc",
        "uprobe//usr/lib/libjemalloc.so.2:malloc",
        "usdt/libc:libc:setjmp",
        "usdt//usr/bin/python3:python:gc__start",
        "kprobe/do_sys_open",
        "kretprobe/do_sys_open",
        "tracepoint/syscalls/sys_enter_openat",
        "tp/syscalls/sys_enter_openat",
        "raw_tp/sched_switch",
        "raw_tracepoint/sched_switch",
        "fentry/tcp_connect",
        "fexit/tcp_connect",
        "tp_btf/sched_switch",
        "lsm/file_open",
        "lsm.s/file_open",
        "iter/task",
        "iter/bpf_map_elem",
        "socket",
        "socket1",
        "sockops",
        "sk_skb/stream_verdict",
        "sk_msg",
        "classifier/ingress/drop",
        "perf_event/profiler",
    ],
)
def test_what_ig_attaches(section: str) -> None:
    assert why(section) is None


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ("uprobe", "section 'uprobe': expected LIBRARY:SYMBOL, got ''"),
        ("uprobe/libc", "section 'uprobe/libc': expected LIBRARY:SYMBOL, got 'libc'"),
        ("uprobe/libc:", "section 'uprobe/libc:': expected LIBRARY:SYMBOL, got 'libc:'"),
        ("uprobe/a:b:c", "section 'uprobe/a:b:c': expected LIBRARY:SYMBOL, got 'a:b:c'"),
        (
            "uprobe/lib/x:y",
            "section 'uprobe/lib/x:y': 'lib/x' is neither a library's name nor an absolute path",
        ),
        ("usdt/libc:x", "section 'usdt/libc:x': expected LIBRARY:PROVIDER:NAME, got 'libc:x'"),
        ("kprobe/", "section 'kprobe/': it does not say what to attach to"),
        ("tp/syscalls", "section 'tp/syscalls': expected CATEGORY/NAME, got 'syscalls'"),
        ("classifier/x", "section 'classifier/x': expected ingress/NAME or egress/NAME"),
        ("uprobe.s/libc:malloc", "ig cannot attach a program in section 'uprobe.s/libc:malloc'"),
        ("uprobe.multi/libc:malloc", "ig cannot attach a program in section 'uprobe.multi/libc:malloc'"),
        ("fentry.s/x", "ig cannot attach a program in section 'fentry.s/x'"),
        ("xdp", "ig cannot attach a program in section 'xdp'"),
        ("anything", "ig cannot attach a program in section 'anything'"),
    ],
)
def test_what_ig_does_not_attach(section: str, reason: str) -> None:
    assert why(section) == reason


def test_unknown_iterators_are_refused_with_the_known_ones() -> None:
    reason = why("iter/cgroup")
    assert reason is not None
    assert reason.endswith("expected one of task, task_file, tcp, udp, ksym, bpf_map_elem, got 'cgroup'")


def test_gadget_yaml_may_say_what_to_attach_to() -> None:
    assert why("uprobe/x", "libjemalloc:malloc") is None
    assert why("uprobe/libc:malloc", "jemalloc") is not None
    assert why("xdp", "libc:malloc") is not None


def test_a_disabled_program_may_be_anything() -> None:
    assert why("xdp", "gadget_program_disabled") is None


@pytest.mark.parametrize(
    ("section", "macro"),
    [
        ("iter/bpf_map_elem", "GADGET_ITER_TARGET_MAP"),
        ("iter.s/bpf_map_elem", "GADGET_ITER_TARGET_MAP"),
        ("sk_skb/stream_parser", "GADGET_SK_TARGET_MAP"),
        ("sk_skb", "GADGET_SK_TARGET_MAP"),
        ("sk_msg", "GADGET_SK_TARGET_MAP"),
    ],
)
def test_programs_that_run_on_a_map_name_it(section: str, macro: str) -> None:
    """ig attaches none without; one that it does not attach needs none."""
    program = Program("p", section, ())
    expected = f"section {section!r}: ig has to know its map; add {macro}(p, MAP)"
    assert why_unattachable(program, target_maps={"other": "map"}) == expected
    assert why_unattachable(program, "gadget_program_disabled") is None
