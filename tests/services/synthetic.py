"""
A recording of a program that never was, of any length, whose every answer is known.

Each of `n_cycles` cycles is ten events, a microsecond each, of thread 1 + cycle % 4 of process 1:

    0 malloc 64     1 free it                     stack 1
    2 malloc 128    3 malloc 256                  stacks 2, 3
    4 free the 128  5 free the 256
    6 malloc 1000, which lives for WINDOW cycles  stack 4
    7 malloc 10     8 free it                     stack 5
    9 free the 1000 of WINDOW cycles ago; in the first WINDOW cycles malloc 16 and keep it: stack 6

Stacks have ids stack + 8 * variant, cycle % n_variants.
"""

from pathlib import Path

import numpy as np

from gadgetops.recording.schema import FrameRow, ModuleRow, StackRow, SymbolRow
from gadgetops.recording.writer import RecordingWriter

WINDOW = 1000
"""Cycles that a block of 1000 bytes lives; a multiple of 4, so that the same thread releases it."""
N_THREADS = 4
OPERATIONS = ["malloc", "free"]
CYCLES_AT_ONCE = 20_000


def write_synthetic(path: Path, n_cycles: int, n_variants: int = 10) -> Path:
    """Write the recording of *n_cycles* cycles, more than `WINDOW`, with *n_variants* of each stack."""
    writer = RecordingWriter.create(path, {"target": {"command": ["synthetic"]}})
    writer.write_modules([ModuleRow(1, 1, "/bin/synthetic", None, 0x400000, 0x500000, 0, 0)])
    frames = range(1, 8 * n_variants + 7)
    writer.write_frames(FrameRow(frame, 0x400000 + frame, 1, frame) for frame in frames)
    writer.write_stacks(
        StackRow(kind + 8 * variant, [kind, 7 + 8 * variant])
        for variant in range(n_variants)
        for kind in range(1, 7)
    )
    writer.write_symbols(
        SymbolRow(frame, 0, f"kind_{frame % 8}" if frame < 7 else f"caller_{frame // 8}", "s.c", frame)
        for frame in frames
    )
    for first in range(0, n_cycles, CYCLES_AT_ONCE):
        cycles = np.arange(first, min(n_cycles, first + CYCLES_AT_ONCE))
        writer.write_events(_events(cycles, n_variants), OPERATIONS)
    writer.close(counters={"lost": 0}, end="complete")
    return writer.path


def _events(cycles: np.ndarray, n_variants: int) -> dict[str, np.ndarray]:
    tid = 1 + cycles % N_THREADS
    short = 0x100000 * tid
    kept = 0x10_0000_0000 + (cycles % (WINDOW + 1)) * 2048
    expired = 0x10_0000_0000 + ((cycles - WINDOW) % (WINDOW + 1)) * 2048
    starting = cycles < WINDOW
    nothing = np.zeros_like(cycles)
    variant = 8 * (cycles % n_variants)
    table = [
        (0, short, nothing + 64, 1),
        (1, short, nothing, 1),
        (0, short, nothing + 128, 2),
        (0, short + 4096, nothing + 256, 3),
        (1, short, nothing, 2),
        (1, short + 4096, nothing, 3),
        (0, kept, nothing + 1000, 4),
        (0, short, nothing + 10, 5),
        (1, short, nothing, 5),
        (
            np.where(starting, 0, 1),
            np.where(starting, 0x20_0000_0000 + cycles * 64, expired),
            starting * 16,
            6,
        ),
    ]
    rows = [
        (operation + nothing, address, size, stack + variant) for operation, address, size, stack in table
    ]
    operation, address, size, stack = (np.stack(column, axis=1).ravel() for column in zip(*rows, strict=True))
    number = 10 * cycles[0] + np.arange(len(address))
    return {
        "timestamp_ns": (number * 1000).astype(np.uint64),
        "pid": np.ones_like(number),
        "tid": np.repeat(tid, 10),
        "operation": operation.astype(np.uint8),
        "address": address.astype(np.uint64),
        "size_bytes": size.astype(np.uint64),
        "stack_id": stack.astype(np.int32),
        "lost": np.zeros_like(number),
    }
