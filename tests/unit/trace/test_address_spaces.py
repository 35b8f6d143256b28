"""An address means what the process had mapped there at that time."""

import time

from hypothesis import given
from hypothesis import strategies as st

from gadgetops.trace.address_spaces import AddressSpace, Mapping

PAGE = 0x1000


def mapping(timestamp_ns: int, start: int, path: str, n_pages: int = 1) -> Mapping:
    return Mapping(1, timestamp_ns, start, start + n_pages * PAGE, 0, path, None)


def space(*mappings: Mapping) -> AddressSpace:
    made = AddressSpace()
    for each in mappings:
        made.add(each)
    return made


def path_of(found: Mapping | None) -> str | None:
    return None if found is None else found.path


def test_the_latest_mapping_before_the_moment_counts() -> None:
    made = space(mapping(10, 0x1000, "/old.so"), mapping(20, 0x1000, "/new.so"))
    assert path_of(made.find(0x1800, 15)) == "/old.so"
    assert path_of(made.find(0x1800, 25)) == "/new.so"


def test_exec_forgets_what_was_mapped_before() -> None:
    made = space(mapping(10, 0x1000, "/before"))
    made.exec(20)
    assert path_of(made.find(0x1800, 15)) == "/before"
    assert made.find(0x1800, 25) is None


def test_a_mapping_reported_late_serves_if_there_was_none() -> None:
    assert path_of(space(mapping(10, 0x1000, "/late.so")).find(0x1800, 5)) == "/late.so"


def test_an_address_outside_of_all_mappings_is_unknown() -> None:
    made = space(mapping(10, 0x1000, "/a"))
    assert (made.find(0x2000, 20), made.find(0xFFF, 20)) == (None, None)


def test_what_is_left_beside_a_new_mapping_keeps_its_place_in_the_file() -> None:
    made = space(mapping(10, 0x1000, "/a", 3), mapping(20, 0x2000, "/b"))
    after = made.find(0x3800, 30)
    assert after is not None
    assert (after.path, after.offset_bytes(0x3800)) == ("/a", 0x2800)
    assert path_of(made.find(0x1800, 30)) == "/a"


def test_a_forked_process_has_what_its_parent_had_and_no_more() -> None:
    parent = space(mapping(10, 0x1000, "/a"))
    child = parent.forked()
    parent.add(mapping(20, 0x2000, "/b"))
    assert child.find(0x1800, 30) is parent.find(0x1800, 30)
    assert child.find(0x2800, 30) is None


def test_thousands_of_mappings_are_found_as_fast_as_a_few() -> None:
    """The work of one search grows with the logarithm: 100,000 of them, not 100,000 times 20,000 steps."""
    many = space(*(mapping(1, 2 * PAGE * i, f"/{i}") for i in range(20_000)))
    few = space(*(mapping(1, 2 * PAGE * i, f"/{i}") for i in range(20)))

    def seconds(made: AddressSpace, n: int) -> float:
        began = time.process_time()
        for i in range(100_000):
            made.find(2 * PAGE * (i % n), 2)
        return time.process_time() - began

    assert seconds(many, 20_000) < 20 * seconds(few, 20)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 5)), max_size=12))
def test_an_address_is_what_was_mapped_there_last(places: list[tuple[int, int]]) -> None:
    """As an array of pages says, at every moment: nothing is forgotten while few mappings were replaced."""
    made, pages = AddressSpace(), [dict[int, tuple[str, int]]()]
    for moment, (first, n_pages) in enumerate(places, start=1):
        made.add(mapping(moment, first * PAGE, f"/{moment}", n_pages))
        then = {page: (f"/{moment}", (page - first) * PAGE) for page in range(first, first + n_pages)}
        pages.append(pages[-1] | then)
    for moment, expected in enumerate(pages):
        for page, (path, offset) in expected.items():
            found = made.find(page * PAGE, moment)
            assert found is not None
            assert (found.path, found.offset_bytes(page * PAGE)) == (path, offset)
