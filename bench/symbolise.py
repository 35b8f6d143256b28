"""Functions and lines for 20,000 addresses of the running interpreter, beside `addr2line` on the same."""

import sys
from collections.abc import Sequence
from pathlib import Path

import side_by_side as bench
from elftools.elf.elffile import ELFFile

from gadgetops.recording.schema import FrameRow, ModuleRow, StackRow
from gadgetops.recording.writer import RecordingWriter

N_ADDRESSES = 20_000


def main() -> None:
    """Ask both for functions, inlined ones included, and lines."""
    with bench.working_folder() as folder:
        binary = largest_python()
        code, address = code_of(binary)
        places = range(code.start, code.stop, max(1, len(code) // N_ADDRESSES))[:N_ADDRESSES]
        recording = written(folder / "symbols.gadgetrec", binary, code, places)
        ours = bench.seconds([*bench.GADGETOPS, "symbolize", str(recording)], times=3)
        asked = folder / "addresses"
        asked.write_text("".join(f"{place - code.start + address - 1:#x}\n" for place in places))
        theirs = bench.seconds(["sh", "-c", f"addr2line -f -i -C -e {binary} < {asked}"])
    bench.show("symbolised", "s", ("gadgetops symbolize", ours), ("addr2line -f -i -C", theirs))


def largest_python() -> Path:
    """Return the largest file with code that this process maps and has python in its name."""
    lines = (line.split(maxsplit=5) for line in Path("/proc/self/maps").read_text().splitlines())
    paths = {Path(fields[5]) for fields in lines if len(fields) == 6 and "x" in fields[1]}
    return max((path for path in paths if "python" in path.name), key=lambda path: path.stat().st_size)


def code_of(binary: Path) -> tuple[range, int]:
    """Return where `.text` lies in the file, and its first address."""
    with binary.open("rb") as stream:
        section = ELFFile(stream).get_section_by_name(".text")
        return range(section["sh_offset"], section["sh_offset"] + section["sh_size"]), section["sh_addr"]


def written(folder: Path, binary: Path, code: range, places: Sequence[int]) -> Path:
    """Return a recording that has a return address at each of *places*, and no symbols."""
    writer = RecordingWriter.create(folder, {"tool": sys.argv[0]})
    writer.write_modules([ModuleRow(0, 1, str(binary), None, 0, code.stop, 0, 0)])
    writer.write_frames(FrameRow(number, place, 0, place) for number, place in enumerate(places))
    writer.write_stacks([StackRow(0, range(len(places)))])
    writer.close(counters={}, end="complete")
    return folder


if __name__ == "__main__":
    main()
