"""The live view in a terminal: chart, rates, what grows, stacks that open, a flame graph."""

from collections.abc import Sequence
from typing import ClassVar, Final, Protocol

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, OptionList, Static
from textual.widgets.option_list import Option

from gadgetops.errors import GadgetOpsError
from gadgetops.live.flame import FlameView, tree
from gadgetops.live.pace import Pace
from gadgetops.live.snapshot import LiveStack, Mark, Snapshot
from gadgetops.questions.asking.filters import ALL, Filters
from gadgetops.questions.asking.question import Amount
from gadgetops.report.answers import printable
from gadgetops.report.drawing import Drawing
from gadgetops.report.leaks import frame_as_text
from gadgetops.units import format_bytes, format_count, format_duration, plural

_TICK_S: Final = 0.25
_SPARK: Final = 16
_CHART_HEIGHT: Final = 7
_SORTS: Final = ("live", "growth", "allocated", "calls", "since the mark")
_VERDICTS: Final = {"growing": "bold red", "levelling": "yellow", "plateau": "green", "startup": "green"}


class Followed(Protocol):
    """What the view follows."""

    filters: Filters

    def poll(self) -> Snapshot | None:
        """Return what is new."""

    def threads(self) -> list[tuple[int, int, str]]:
        """Return process, thread and name of the process of all that allocated."""


class FilterScreen(ModalScreen[Filters | None]):
    """A list of processes and threads, of which one is chosen."""

    BINDINGS: ClassVar = [Binding("escape", "dismiss(None)", "back")]
    CSS = """
    FilterScreen { align: center middle; }
    OptionList { width: 60%; height: 70%; border: round $accent; }
    """

    def __init__(self, threads: Sequence[tuple[int, int, str]]) -> None:
        super().__init__()
        self._choices: list[tuple[str, Filters]] = [("all processes", ALL)]
        for pid in dict.fromkeys(pid for pid, _, _ in threads):
            own = [(tid, comm) for found, tid, comm in threads if found == pid]
            self._choices.append((f"process {pid} {own[0][1]}", Filters(pids=(pid,))))
            self._choices += [
                (f"    thread {tid}", Filters(pids=(pid,), tids=(tid,))) for tid, _ in own if len(own) > 1
            ]

    def compose(self) -> ComposeResult:
        """Show the list."""
        yield OptionList(*(Option(Text(printable(label))) for label, _ in self._choices))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take what was chosen."""
        self.dismiss(self._choices[event.option_index][1])


class LiveApp(App[str]):
    """
    The view; its result is `detach` or `end`.

    Args:
        followed: Gives the snapshots.
        title: Of the recording.
        can_end: Whether the recorder is ours to end.
        drawing: How charts are drawn.
    """

    TITLE = "gadgetops live"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head { height: auto; padding: 0 1; }
    #chart { height: 9; padding: 0 1; color: $accent; }
    #stacks { height: 1fr; }
    #flame { height: 1fr; display: none; }
    #detail { height: 40%; border: round $accent; display: none; padding: 0 1; }
    """
    BINDINGS: ClassVar = [
        Binding("s", "sort", "sort"),
        Binding("p,space", "pause", "pause"),
        Binding("m", "mark", "mark"),
        Binding("f", "filter", "filter"),
        Binding("g", "flame", "flame"),
        Binding("enter", "open", "open", show=False),
        Binding("escape", "close", "close", show=False),
        Binding("d,q", "detach", "detach"),
        Binding("e", "end", "end it"),
    ]

    def __init__(self, followed: Followed, title: str, *, can_end: bool, drawing: Drawing) -> None:
        super().__init__()
        self._followed = followed
        self._title = printable(title)
        self._can_end = can_end
        self._drawing = drawing
        self._pace = Pace()
        self._snapshot: Snapshot | None = None
        self._mark: Mark | None = None
        self._sort = 0
        self._is_paused = False
        self._is_looking = False
        self._problem = ""
        self._frame = ""
        self._shown: list[LiveStack] = []

    def compose(self) -> ComposeResult:
        """Lay out the view."""
        yield Static(id="head")
        yield Static(id="chart")
        yield DataTable(id="stacks", cursor_type="row", zebra_stripes=True)
        flame = FlameView()
        flame.id = "flame"
        yield flame
        with VerticalScroll(id="detail"):
            yield Static(id="frames")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self._show_head()
        self.set_interval(_TICK_S, self._tick)
        self.query_one(DataTable).focus()

    def on_resize(self) -> None:
        """Draw the chart as wide as there is room now."""
        self._show_chart()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to end a recording only where that can be done."""
        del parameters
        return action != "end" or self._can_end

    def action_sort(self) -> None:
        """Sort by the next column."""
        n_sorts = len(_SORTS) if self._mark is not None else len(_SORTS) - 1
        self._sort = (self._sort + 1) % n_sorts
        self._show()

    def action_pause(self) -> None:
        """Stop or go on showing what is new; the recording goes on."""
        self._is_paused = not self._is_paused
        self._show_head()

    def action_mark(self) -> None:
        """Remember this moment, and show what came since it."""
        if self._snapshot is not None:
            self._mark = Mark(self._snapshot)
            self._sort = len(_SORTS) - 1
            self._show()

    def action_filter(self) -> None:
        """Choose a process or thread."""
        self._ask_threads()

    def action_flame(self) -> None:
        """Show the flame graph in place of the table, or the other way round."""
        flame, stacks = self.query_one(FlameView), self.query_one(DataTable)
        flame.display = not flame.display
        stacks.display = not flame.display
        (flame if flame.display else stacks).focus()
        self._show()

    def action_close(self) -> None:
        """Close what is open."""
        self.query_one("#detail").display = False

    def action_detach(self) -> None:
        """Leave the view; the recording goes on."""
        self.exit("detach")

    def action_end(self) -> None:
        """Leave the view and end the recording."""
        self.exit("end")

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Open the stack of a row."""
        self.query_one("#detail").display = True
        self._show_stack(event.cursor_row)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Show the stack of the row, if one is open."""
        if self.query_one("#detail").display:
            self._show_stack(event.cursor_row)

    def on_flame_view_chosen(self, event: FlameView.Chosen) -> None:
        """Say what was chosen."""
        node, whole = event.node, event.whole
        share = f", {100 * node.value / whole:.1f} %" if whole else ""
        self._frame = f"{printable(node.name)}: {format_bytes(node.value)}{share}"
        self._show_head()

    def _tick(self) -> None:
        if not (self._is_paused or self._is_looking) and self._pace.is_due:
            self._is_looking = True
            self._look()

    @work(thread=True, exclusive=True)
    def _look(self) -> None:
        try:
            found, problem = self._followed.poll(), ""
        except GadgetOpsError as error:
            found, problem = None, str(error)
        self.call_from_thread(self._take, found, problem)

    @work(thread=True)
    def _ask_threads(self) -> None:
        try:
            threads = self._followed.threads()
        except GadgetOpsError as error:
            self.call_from_thread(self.notify, str(error), severity="error")
            return
        self.call_from_thread(self.push_screen, FilterScreen(threads), self._choose)

    def _choose(self, filters: Filters | None) -> None:
        if filters is not None:
            self._followed.filters = filters
            self._mark = None
            self._sort = min(self._sort, len(_SORTS) - 2)
            self._pace = Pace()
            self._show_head()

    def _take(self, found: Snapshot | None, problem: str) -> None:
        self._is_looking = False
        if problem != self._problem:
            self._problem = problem
            self._show_head()
        if found is not None:
            self._snapshot = found
            self._show()
        self._pace.looked()

    def _show(self) -> None:
        self._show_head()
        self._show_chart()
        if self._snapshot is None:
            return
        self._shown = sorted(self._snapshot.stacks, key=self._rank, reverse=True)
        if self.query_one(FlameView).display:
            self.query_one(FlameView).show(tree(self._shown, self._value))
        else:
            self._show_table()

    def _rank(self, each: LiveStack) -> int:
        by = _SORTS[self._sort]
        if by == "growth":
            return each.trend.bytes_per_s
        if by == "allocated":
            return each.allocated.size_bytes
        if by == "calls":
            return each.allocated.count
        return self._value(each)

    def _value(self, each: LiveStack) -> int:
        """Return what the flame graph shows of a stack: what is live, or came since the mark."""
        if self._mark is not None and _SORTS[self._sort] == "since the mark":
            return self._mark.since(each)[0].size_bytes
        return each.live.size_bytes

    def _show_head(self) -> None:
        self.query_one("#head", Static).update(self._head())

    def _head(self) -> Text:
        text = Text()
        text.append(self._title, style="bold")
        if self._problem:
            text.append(f"  {printable(self._problem)}", style="bold red")
        snapshot = self._snapshot
        if snapshot is None:
            return text.append("  waiting for its first events …")
        sure = snapshot.certainty
        state = "ended" if snapshot.is_ended else "paused" if self._is_paused else "recording"
        text.append(f"  {state} {format_duration(snapshot.duration_ns)}", style="reverse")
        text.append(f"  {plural(snapshot.n_events, 'event')}, {round(snapshot.events_per_s):,}/s")
        lost_style = "bold red" if sure.lost else "green"
        text.append(f", {format_count(sure.lost)} lost", style=lost_style)
        if snapshot.n_behind > 1:
            text.append(f", {plural(snapshot.n_behind, 'segment')} behind", style="yellow")
        text.append(f"\n{_amount(snapshot.live)} not released, of {_amount(snapshot.allocated)}; ")
        growing = len(snapshot.growing)
        text.append(
            f"{plural(growing, 'stack')} growing" if growing else "nothing grows",
            style="bold red" if growing else "green",
        )
        frame = f"; {self._frame}" if self._frame and self.query_one(FlameView).display else ""
        text.append(f"\nsorted by {_SORTS[self._sort]}{self._chosen_as_text()}{self._mark_as_text()}", "dim")
        text.append(frame, "bold")
        for reason in sure.reasons[:2]:
            text.append(f"\n{sure.word}: {printable(reason)}", "yellow")
        return text

    def _chosen_as_text(self) -> str:
        filters = self._followed.filters
        if filters.tids:
            return f"; thread {filters.tids[0]} of process {filters.pids[0]} alone"
        return f"; process {filters.pids[0]} alone" if filters.pids else ""

    def _mark_as_text(self) -> str:
        if self._mark is None:
            return ""
        before = self._mark.snapshot
        now = before if self._snapshot is None else self._snapshot
        since = format_duration(max(0, now.duration_ns - before.duration_ns))
        grown = now.live.size_bytes - before.live.size_bytes
        return f"; {_signed(grown)} since the mark, {since} ago"

    def _show_chart(self) -> None:
        chart = self.query_one("#chart", Static)
        snapshot = self._snapshot
        width = max(chart.size.width - 14, 10)
        if snapshot is None:
            return
        highest = max(snapshot.curve, default=0)
        lines = self._drawing.area(snapshot.curve, width, _CHART_HEIGHT)
        text = Text(no_wrap=True)
        for number, line in enumerate(lines):
            label = format_bytes(highest) if number == 0 else ""
            text.append(f"{label:>10} |{line}\n")
        busiest = max(snapshot.rates, default=0) * 10**9 // snapshot.width_ns
        spark = self._drawing.sparkline(_wide(snapshot.rates, width), width)
        text.append(f"{'rate':>10} |{spark}\n", "dim")
        text.append(f"{'':>10}  at most {format_count(busiest)} allocations a second", "dim")
        chart.update(text)

    def _show_table(self) -> None:
        table = self.query_one(DataTable)
        row = table.cursor_row
        headings = ["live", "count", "a second", "allocated", "course", "verdict"]
        if self._mark is not None:
            headings.append("since mark")
        table.clear(columns=True)
        table.add_columns(*headings, "stack, innermost first")
        for each in self._shown:
            table.add_row(*self._cells(each))
        if self._shown:
            table.move_cursor(row=min(row, len(self._shown) - 1))

    def _cells(self, each: LiveStack) -> list[Text]:
        names = [printable(frame.name) for frame in each.stack.frames[:6]] or [printable(each.stack.name)]
        cells = [
            Text(format_bytes(each.live.size_bytes), justify="right"),
            Text(format_count(each.live.count), justify="right"),
            Text(_signed(each.trend.bytes_per_s), justify="right"),
            Text(format_bytes(each.allocated.size_bytes), justify="right"),
            Text(self._drawing.sparkline(each.curve, _SPARK)),
            Text(each.trend.kind, style=_VERDICTS.get(each.trend.kind, "dim")),
        ]
        if self._mark is not None:
            live, _ = self._mark.since(each)
            cells.append(Text(f"{_signed(live.size_bytes)} ({live.count:+,})", justify="right"))
        return [*cells, Text(" < ".join(names))]

    def _show_stack(self, row: int) -> None:
        if not 0 <= row < len(self._shown):
            return
        each = self._shown[row]
        text = Text(f"{_amount(each.live)} not released, of {_amount(each.allocated)}\n", "bold")
        text.append(f"{each.trend.sentence}\n", _VERDICTS.get(each.trend.kind, ""))
        if self._mark is not None:
            live, allocated = self._mark.since(each)
            text.append(f"since the mark {_signed(live.size_bytes)}, of {_amount(allocated)} allocated\n")
        for frame in each.stack.frames:
            text.append(f"  {frame_as_text(frame)}\n", "none")
        if not each.stack.frames:
            text.append(f"  {printable(each.stack.name)}\n")
        self.query_one("#frames", Static).update(text)


def _wide(values: Sequence[int], width: int) -> list[int]:
    """Return *values* as wide as the curve is drawn."""
    if len(values) >= width:
        return [*values]
    return [values[column * len(values) // width] for column in range(width)] if values else []


def _amount(amount: Amount) -> str:
    return f"{format_bytes(amount.size_bytes)} in {plural(amount.count, 'allocation')}"


def _signed(size_bytes: int) -> str:
    return f"{'+' if size_bytes > 0 else ''}{format_bytes(size_bytes)}"
