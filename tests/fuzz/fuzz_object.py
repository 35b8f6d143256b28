"""
Fuzzing of the object reader: any bytes give a value or an `ObjectError`, and quickly.

    python tests/fuzz/fuzz_object.py FOLDER tests/data/objects -max_total_time=300

reads what is in the folders and writes what it finds interesting to the first. What makes the reader raise
anything else is left in `crash-…`; what takes longer than a second, in `timeout-…`.
"""

import sys

import atheris

with atheris.instrument_imports():
    from gadgetops.bpf.contract import Contract
    from gadgetops.bpf.diagrams import mermaid
    from gadgetops.bpf.diagrams.graph import Graph
    from gadgetops.bpf.disassembly import Disassembly
    from gadgetops.bpf.object import Object
    from gadgetops.errors import ObjectError


def read_all(data: bytes) -> None:
    """Make everything there is of the object in *data*."""
    try:
        obj = Object.from_bytes(data)
    except ObjectError:
        return
    graph = Graph.from_object(obj)
    mermaid.flowchart(graph)
    mermaid.sequence(graph)
    disassembly = Disassembly(obj)
    for program in obj.programs:
        disassembly.source(program)
        disassembly.source_with_relocations(program)
    try:
        Contract.from_object(obj)
    except ObjectError:
        return


if __name__ == "__main__":
    atheris.Setup([*sys.argv, "-timeout=1", "-max_len=20000"], read_all)
    atheris.Fuzz()
