"""Functions and lines for the addresses of a recording, beside `addr2line` on the same files."""

import sys
from pathlib import Path

import side_by_side as bench

from gadgetops.recording.reader import open_recording

PROGRAM = [sys.executable, "-c", "import json, decimal, email.message, xml.dom.minidom, asyncio, unittest"]
QUERY = """
    select modules.path, list(distinct frames.module_offset)
    from frames join modules using (module_id)
    where modules.path like '/%'
    group by all
"""


def main() -> None:
    """Record an interpreter that imports, without symbols, and symbolise it both ways."""
    with bench.working_folder() as folder:
        recording, gadget = folder / "symbols.gadgetrec", bench.built_gadget(folder)
        bench.run(bench.record_command(recording, gadget, *PROGRAM, options="--symbols late"))
        n_addresses = open_recording(recording).n_addresses()
        ours = bench.seconds([*bench.GADGETOPS, "symbolize", str(recording)], times=3)
        script = folder / "addr2line.sh"
        script.write_text("set -e\n" + "".join(f"{command}\n" for command in other(recording, folder)))
        theirs = bench.seconds(["sh", str(script)])
    unit = f"µs/address, of {n_addresses:,}"
    bench.show(
        "symbolised", unit, ("gadgetops", ours / n_addresses * 1e6), ("addr2line", theirs / n_addresses * 1e6)
    )


def other(recording: Path, folder: Path) -> list[str]:
    """Return the commands that ask addr2line for functions, inlined ones included, and lines."""
    with open_recording(recording).connect() as connection:
        files = connection.execute(QUERY).fetchall()
    commands = []
    for number, (path, offsets) in enumerate(files):
        asked = folder / f"{number}.addresses"
        asked.write_text("".join(f"{offset:#x}\n" for offset in offsets))
        commands.append(f"addr2line -f -i -C -e {path} < {asked} > /dev/null")
    return commands


if __name__ == "__main__":
    main()
