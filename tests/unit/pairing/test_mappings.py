"""What munmap() and mremap() take of mappings, call by call."""

from gadgetops.pairing.mappings import Call, pair_mappings

PAGE = 4096


def call(
    seq: int, operation: str, page: int, n_pages: int, *, at_ns: int | None = None, tid: int = 1
) -> Call:
    """Return a call of process 1, at the time that is its number unless another one is given."""
    return Call(seq, at_ns or seq, 1, 0, tid, operation, page * PAGE, n_pages * PAGE)


def open_pages(calls: list[Call]) -> dict[int, list[tuple[int, int]]]:
    """Return which pages are mapped after *calls*, by the number of the call that mapped them."""
    found: dict[int, list[tuple[int, int]]] = {}
    for piece in pair_mappings(calls).open:
        found.setdefault(piece.seq, []).append((piece.start_address // PAGE, piece.end_address // PAGE))
    return found


def test_what_was_mapped_since_a_late_release_began_stays() -> None:
    """One thread's mremap() returns after another one was given the pages that it had left."""
    calls = [
        call(1, "mmap", 10, 4),
        call(2, "mmap", 10, 4, at_ns=6, tid=2),
        call(3, "munmap", 10, 4, at_ns=5),
        call(4, "mmap", 30, 8, at_ns=8),
    ]
    assert open_pages(calls) == {2: [(10, 14)], 4: [(30, 38)]}
    assert pair_mappings(calls).idle == []


def test_a_late_release_is_no_fault_though_all_is_gone_again() -> None:
    calls = [
        call(1, "mmap", 10, 4),
        call(2, "mmap", 10, 4, at_ns=6, tid=2),
        call(3, "munmap", 10, 4, at_ns=7, tid=2),
        call(4, "munmap", 10, 4, at_ns=5),
    ]
    assert pair_mappings(calls).idle == []
    assert pair_mappings([*calls, call(5, "munmap", 10, 4, at_ns=9)]).idle == [
        call(5, "munmap", 10, 4, at_ns=9)
    ]


def test_a_part_that_was_not_mapped_anew_goes() -> None:
    calls = [
        call(1, "mmap", 10, 4),
        call(2, "mmap", 10, 1, at_ns=6, tid=2),
        call(3, "munmap", 10, 4, at_ns=5),
    ]
    assert open_pages(calls) == {2: [(10, 11)]}


def test_a_mapping_put_over_another_takes_its_pages() -> None:
    """As by MREMAP_FIXED: the rest stays, and all of it goes by one munmap()."""
    calls = [call(1, "mmap", 10, 16), call(2, "munmap", 40, 3, at_ns=1), call(3, "mmap", 14, 8)]
    assert open_pages(calls) == {1: [(10, 14), (22, 26)], 3: [(14, 22)]}
    assert open_pages([*calls, call(4, "munmap", 10, 16)]) == {}


def test_steps_give_what_one_step_gives() -> None:
    """The time at which a range was mapped is carried on."""
    calls = [
        call(1, "mmap", 10, 4),
        call(2, "mmap", 10, 4, at_ns=6, tid=2),
        call(3, "munmap", 10, 4, at_ns=5),
    ]
    first = pair_mappings(calls[:2])
    assert {*pair_mappings(calls[2:], first.open).open} == {*pair_mappings(calls).open}
