"""The live view, driven by textual's pilot over a recording that grows."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, OptionList, Static

from gadgetops.live.app import LiveApp
from gadgetops.live.flame import FlameView
from gadgetops.live.follower import Follower
from gadgetops.report.drawing import Drawing

Script = Callable[[LiveApp, Pilot[Any]], Awaitable[None]]
SIZE = (140, 40)


def view(growing: Any, script: Script, *, can_end: bool = True, drawing: Drawing | None = None) -> LiveApp:
    """Run *script* on the view of a recording, and return the view."""
    app = LiveApp(Follower(growing.path), "r.gadgetrec", can_end=can_end, drawing=drawing or Drawing())

    async def run() -> None:
        async with app.run_test(size=SIZE) as pilot:
            await script(app, pilot)

    asyncio.run(run())
    return app


async def until(pilot: Pilot[Any], is_there: Callable[[], bool]) -> None:
    """Wait for the view to show something; the test's own time limit is the only one."""
    for _ in range(600):
        if is_there():
            return
        await pilot.pause(0.05)
    pytest.fail("the view does not show it")


def head(app: LiveApp) -> str:
    """Return the text above the chart."""
    return str(app.query_one("#head", Static).render())


def rows(app: LiveApp) -> list[list[str]]:
    """Return the cells of the table."""
    table = app.query_one(DataTable)
    return [[str(cell) for cell in table.get_row_at(number)] for number in range(table.row_count)]


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What tests take of the processor is not the view's."""
    monkeypatch.setattr("gadgetops.live.pace.SHARE", 100.0)
    monkeypatch.setattr("gadgetops.live.pace._SHORTEST_S", 0.05)


def test_it_shows_what_grows_as_it_grows(growing: Any) -> None:
    """Sums, rate, what is lost, the verdict; and again when a segment has come."""

    async def script(app: LiveApp, pilot: Pilot[Any]) -> None:
        assert "waiting for its first events" in head(app)
        growing.grow(60)
        await until(pilot, lambda: "359 events" in head(app))
        assert "0 lost" in head(app)
        assert "1 stack growing" in head(app)
        [first, *_] = rows(app)
        assert first[0] == "59.0 KiB"
        assert first[5] == "growing"
        assert first[-1] == "/bin/grows+0x1 < /bin/grows+0x9"
        growing.grow(60)
        await until(pilot, lambda: "719 events" in head(app))
        growing.end()
        await until(pilot, lambda: " ended " in head(app))
        assert rows(app)[0][-1] == "leaks < main"

    view(growing, script)


def test_a_stack_opens_and_closes(growing: Any) -> None:
    """With its sentence and lines."""
    growing.grow(60)
    growing.end()

    async def script(app: LiveApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: bool(rows(app)))
        await pilot.press("enter")
        await until(pilot, lambda: app.query_one("#detail").display)
        text = str(app.query_one("#frames", Static).render())
        assert "likely a leak" in text
        assert "leaks g.c:1" in text
        await pilot.press("escape")
        assert not app.query_one("#detail").display

    view(growing, script)


def test_rows_are_sorted_by_what_is_asked_for(growing: Any) -> None:
    """The innermost function of the first row says by what."""
    growing.grow(60)
    growing.end()

    async def script(app: LiveApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: bool(rows(app)))
        firsts = []
        for _ in range(4):
            firsts.append((head(app).split("sorted by ")[1].split(";")[0], rows(app)[0][-1].split()[0]))
            await pilot.press("s")
        assert firsts == [
            ("live", "leaks"),
            ("growth", "leaks"),
            ("allocated", "caches"),
            ("calls", "leaks"),
        ]

    view(growing, script)


def test_a_mark_shows_what_came_since(growing: Any) -> None:
    """In a column of its own, which it is sorted by."""
    growing.grow(40)

    async def script(app: LiveApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: "239 events" in head(app))
        await pilot.press("m")
        growing.grow(20)
        await until(pilot, lambda: "359 events" in head(app))
        assert "+19.7 KiB since the mark" in head(app)
        assert rows(app)[0][6] == "+19.7 KiB (+40)"

    view(growing, script)


def test_paused_it_shows_nothing_new(growing: Any) -> None:
    """Until it goes on."""
    growing.grow(40)

    async def script(app: LiveApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: "239 events" in head(app))
        await pilot.press("p")
        growing.grow(20)
        await pilot.pause(0.5)
        assert "239 events" in head(app)
        assert "paused" in head(app)
        await pilot.press("p")
        await until(pilot, lambda: "359 events" in head(app))

    view(growing, script)


def test_a_process_is_chosen_from_a_list(growing: Any) -> None:
    """And all of them again."""
    growing.grow(40)

    async def script(app: LiveApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: bool(rows(app)))
        await pilot.press("f")
        await until(pilot, lambda: len(app.screen_stack) == 2)
        choices = app.screen.query_one(OptionList)
        assert [str(choices.get_option_at_index(number).prompt) for number in range(3)] == [
            "all processes",
            "process 1 grows",
            "process 2 helps",
        ]
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: "process 2 alone" in head(app) and "280 B in 40" in head(app))

    view(growing, script)


def test_the_flame_graph_has_the_sums(growing: Any) -> None:
    """Arrows choose a frame, Enter zooms to it, Backspace goes back."""
    growing.grow(60)
    growing.end()

    async def script(app: LiveApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: bool(rows(app)))
        await pilot.press("g")
        flame = app.query_one(FlameView)
        await until(pilot, lambda: flame.display and "leaks" in flame.render().plain)
        await pilot.press("down", "down", "right")
        await until(pilot, lambda: "caches: 4.00 KiB, 6.3 %" in head(app))
        wide = next(line for line in flame.render().plain.split("\n") if "leaks" in line)
        assert wide.startswith(" leaks")
        await pilot.press("enter")
        lines = flame.render().plain.split("\n")
        assert [line.strip() for line in lines[:3]] == ["all", "main", "caches"]
        assert "leaks" not in flame.render().plain
        await pilot.press("backspace")
        assert "leaks" in flame.render().plain
        await pilot.press("g")
        assert app.query_one(DataTable).display

    view(growing, script)


@pytest.mark.parametrize(("key", "wish"), [("d", "detach"), ("q", "detach"), ("e", "end")])
def test_it_is_left_with_a_wish(key: str, wish: str, growing: Any) -> None:
    growing.grow(10)

    async def script(app: LiveApp, pilot: Pilot[Any]) -> None:
        await pilot.press(key)

    assert view(growing, script).return_value == wish


def test_what_others_record_is_not_ended_here(growing: Any) -> None:
    growing.grow(10)

    async def script(app: LiveApp, pilot: Pilot[Any]) -> None:
        await pilot.press("e")
        await pilot.pause(0.2)
        assert app.is_running

    assert view(growing, script, can_end=False).return_value is None


def test_in_ascii_nothing_else_is_drawn(growing: Any) -> None:
    """Neither in the chart nor in the courses."""
    growing.grow(60)

    async def script(app: LiveApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: bool(rows(app)))
        chart = str(app.query_one("#chart", Static).render())
        assert "####" in chart
        assert chart.isascii()
        assert all(row[4].isascii() for row in rows(app))

    view(growing, script, drawing=Drawing(is_ascii=True))


def test_a_recording_that_vanishes_is_said(growing: Any) -> None:
    """In the view, which stays."""
    growing.grow(10)

    async def script(app: LiveApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: bool(rows(app)))
        growing.path.rename(growing.path.with_name("elsewhere"))
        await until(pilot, lambda: "no such recording" in head(app))

    view(growing, script)
