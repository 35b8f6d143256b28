"""
Time and size of `report` at a million events and at ten, and how its page opens, zooms and follows a drag.

The page is that of a recording with 50,000 functions on its stacks, in Chromium. A frame's cost is the time
that the page's own code takes for it: 60 frames a second leave 16.7 ms. Beside each time stands that of
`summary`, which reads the same pairs.
"""

import random
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import side_by_side as bench
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(bench.ROOT / "tests"))

from services.synthetic import write_synthetic

from gadgetops.recording.schema import FrameRow, ModuleRow, StackRow, SymbolRow
from gadgetops.recording.writer import RecordingWriter

EVENTS_A_CYCLE = 10
N_EVENTS = (1_000_000, 10_000_000)
N_NODES = 50_000
N_STEPS = 60
CLOCK = """
    window.costs = [];
    const request = window.requestAnimationFrame.bind(window);
    window.requestAnimationFrame = (draw) => request((now) => {
        const start = performance.now();
        draw(now);
        window.costs.push(performance.now() - start);
    });
"""
SETTLE = "() => new Promise(done => setTimeout(() => done(window.costs.splice(0)), 50))"


def main() -> None:
    """Show all figures."""
    with bench.working_folder() as folder:
        for n_events in N_EVENTS:
            recording = write_synthetic(folder / f"r{n_events}", n_events // EVENTS_A_CYCLE, n_variants=100)
            _show_report(f"{n_events:,} events, 600 stacks", recording, folder)
        wide = write_wide(folder / "wide", N_NODES, 1_000_000)
        page = _show_report(f"1,000,000 events, {N_NODES:,} functions", wide, folder)
        _show_page(page)


def _show_report(name: str, recording: Path, folder: Path) -> Path:
    """Show time and size of the report of what is paired; return the file."""
    page = folder / f"{recording.name}.html"
    summary = [*bench.GADGETOPS, "summary", str(recording)]
    bench.seconds(summary)
    report = [*bench.GADGETOPS, "report", str(recording), "-o", str(page), "--force"]
    bench.show(
        name,
        "s",
        ("gadgetops report", bench.seconds(report, 3)),
        ("gadgetops summary", bench.seconds(summary, 3)),
    )
    print(f"  {'size':<44} {page.stat().st_size / 1e6:>14.2f} MB")
    return page


def write_wide(path: Path, n_nodes: int, n_events: int) -> Path:
    """Write a recording whose stacks are the leaves of a random tree of *n_nodes* functions."""
    chance = random.Random(42)
    callers, leaves = [-1], {0}
    while len(callers) < n_nodes:
        caller = chance.choice(range(max(0, len(callers) - 5000), len(callers)))
        leaves.discard(caller)
        leaves.add(len(callers))
        callers.append(caller)
    writer = RecordingWriter.create(path, {"target": {"command": ["wide"]}})
    writer.write_modules(
        ModuleRow(m, 1, f"/bin/module{m}", None, 0x400000 * (m + 1), 0x400000 * (m + 2), 0, 0)
        for m in range(20)
    )
    writer.write_frames(FrameRow(node, 0x400000 + node, node % 20, node) for node in range(n_nodes))
    writer.write_symbols(
        SymbolRow(node, 0, f"namespace::function_{node}(int)", f"file{node % 500}.cc", node)
        for node in range(n_nodes)
    )
    stacks = sorted(leaves)
    writer.write_stacks(StackRow(number, _path(callers, leaf)) for number, leaf in enumerate(stacks))
    numbers = np.arange(n_events)
    dice = np.random.default_rng(42)
    stack = dice.integers(0, len(stacks), n_events // 2)
    columns = {
        "timestamp_ns": numbers * 10_000,
        "operation": numbers % 2,
        "address": 4096 * (1 + numbers // 2),
        "size_bytes": np.repeat(dice.integers(16, 4096, n_events // 2), 2),
        "stack_id": np.repeat(stack, 2),
        "pid": np.ones(n_events, np.int64),
        "tid": 1 + np.repeat(stack % 4, 2),
        "lost": np.zeros(n_events, np.int64),
    }
    # One in twenty is never released.
    is_kept = (numbers % 2 == 0) | (numbers // 2 % 20 != 0)
    writer.write_events({name: column[is_kept] for name, column in columns.items()}, ["malloc", "free"])
    writer.close(counters={"lost": 0}, end="complete")
    return writer.path


def _path(callers: list[int], leaf: int) -> list[int]:
    path, node = [], leaf
    while node >= 0:
        path.append(node)
        node = callers[node]
    return path


def _show_page(path: Path) -> None:
    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("no `chromium` on PATH: scripts/setup.sh test installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.add_init_script(CLOCK)
        start = time.perf_counter()
        page.goto(path.as_uri())
        page.locator("html[data-ready]").wait_for()
        page.evaluate(SETTLE)
        print(f"  {'opened and drawn':<44} {time.perf_counter() - start - 0.05:>14.2f} s")
        page.get_by_label("Show", exact=True).select_option("allocated")
        page.evaluate(SETTLE)
        _show_costs("a zoom of the flame graph", _zooms(page))
        _show_costs("a step of a drag, all views", _drag(page))
        browser.close()


def _zooms(page: Page) -> list[float]:
    page.locator("canvas[role=application]").focus()
    costs: list[float] = []
    for step in range(N_STEPS):
        for key in ("ArrowDown", "ArrowRight" if step % 3 else "ArrowDown", "Enter"):
            page.keyboard.press(key)
            costs += page.evaluate(SETTLE)
        if step % 10 == 9:
            page.keyboard.press("Escape")
    return costs


def _drag(page: Page) -> list[float]:
    page.locator(".u-over").scroll_into_view_if_needed()
    box: Any = page.locator(".u-over").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 40)
    page.mouse.down()
    costs: list[float] = []
    for step in range(1, N_STEPS + 1):
        page.mouse.move(box["x"] + 5 + step * (box["width"] - 10) / N_STEPS, box["y"] + 40)
        costs += page.evaluate(SETTLE)
    page.mouse.up()
    return costs


def _show_costs(name: str, costs: list[float]) -> None:
    ranked = sorted(costs)
    middle, tenth = ranked[len(ranked) // 2], ranked[len(ranked) * 9 // 10]
    rate = 1000 / max(tenth, 1000 / 60)
    print(f"  {name:<44} {middle:>14.1f} ms, one in ten {tenth:.1f} ms; {rate:.0f} a second")


if __name__ == "__main__":
    main()
