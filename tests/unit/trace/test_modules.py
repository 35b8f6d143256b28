"""An address means what the process had mapped there at that time."""

from gadgetops.trace.modules import AddressSpace, Mapping


def mapping(timestamp_ns: int, start: int, path: str) -> Mapping:
    return Mapping(timestamp_ns, start, start + 0x1000, 0, path, None)


def test_the_latest_mapping_before_the_moment_counts() -> None:
    space = AddressSpace([mapping(10, 0x1000, "/old.so"), mapping(20, 0x1000, "/new.so")])
    assert space.find(0x1800, 15).path == "/old.so"
    assert space.find(0x1800, 25).path == "/new.so"


def test_exec_forgets_what_was_mapped_before() -> None:
    space = AddressSpace([mapping(10, 0x1000, "/before")], exec_times_ns=[20])
    assert space.find(0x1800, 15).path == "/before"
    assert space.find(0x1800, 25) is None


def test_a_mapping_reported_late_serves_if_there_was_none() -> None:
    space = AddressSpace([mapping(10, 0x1000, "/late.so")])
    assert space.find(0x1800, 5).path == "/late.so"


def test_an_address_outside_of_all_mappings_is_unknown() -> None:
    assert AddressSpace([mapping(10, 0x1000, "/a")]).find(0x2000, 20) is None
