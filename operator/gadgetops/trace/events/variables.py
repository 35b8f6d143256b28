"""Tables among the gadget's variables, as bytes of its mapped `.bss`."""

from gadgetops.bpf.object import Object


def table(obj: Object, bss: memoryview, name: str) -> memoryview:
    """Return the bytes of the variable *name*, which exists."""
    found = table_or_none(obj, bss, name)
    assert found is not None, name  # noqa: S101 - they come together with the slices
    return found


def table_or_none(obj: Object, bss: memoryview, name: str) -> memoryview | None:
    """Return the bytes of the variable *name*; None if the object has none, as an older one."""
    variable = obj.variable(name)
    if variable is None:
        return None
    return bss[variable.offset_bytes : variable.offset_bytes + variable.size_bytes]
