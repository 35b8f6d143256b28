"""A report in Chromium: what stands first, and the numbers of a window beside those of the questions."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import services.planted
from playwright.sync_api import Locator, Page
from services.planted import LEAKS, N_REQUESTS, RESIDENT_BYTES, write_planted
from services.synthetic import write_synthetic

from gadgetops import commands
from gadgetops.pairing.pairs import paired
from gadgetops.questions.asking.filters import Filters
from gadgetops.questions.leaks.leaks import leaks_in
from gadgetops.questions.peak import peak
from gadgetops.questions.temporary import temporary
from gadgetops.questions.timeline import timeline
from gadgetops.questions.top import totals
from gadgetops.recording.reader import Recording, open_recording
from gadgetops.recording.schema import SymbolRow
from gadgetops.recording.writer import RecordingWriter
from gadgetops.units import format_bytes, format_count

Open = Callable[..., Page]
Report = Callable[..., Path]
ROOT = Path(__file__).parents[2]
"""Installed with what the page is made of."""
HEADINGS = ["left", "left_count", "live", "peak", "allocated", "calls", "temporary"]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server with three leaks and a cache."""
    return write_planted(tmp_path_factory.mktemp("planted") / "server.gadgetrec")


@pytest.fixture(scope="module")
def planted_page(planted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its report."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    assert commands.main(["report", str(planted), "-o", str(path)]) == 0
    return path


def rows(page: Page) -> dict[str, dict[str, str]]:
    """Return the cells of the table of stacks, by the innermost function."""
    found = {}
    for row in page.locator("tbody tr[data-stack]").all():
        name, _, *cells = row.locator("td").all_inner_texts()
        found[name.split(" ← ")[0].strip("▶▸ \n")] = dict(zip(HEADINGS, cells, strict=True))
    return found


def expected(recording: Recording, filters: Filters) -> dict[str, dict[str, str]]:
    """Return the same cells, but for what is live at the end, from the questions."""
    found: dict[str, dict[str, str]] = {}

    def cell(group: Any, **cells: str) -> None:
        empty = dict.fromkeys(("left", "peak", "allocated"), "0 B") | dict.fromkeys(
            ("left_count", "calls", "temporary"), "0"
        )
        found.setdefault(group.stack.frames[0].name, empty).update(cells)

    for each in totals(recording, filters)[1]:
        cell(
            each.group,
            allocated=format_bytes(each.allocated.size_bytes),
            calls=format_count(each.allocated.count),
        )
        cell(each.group, left=format_bytes(each.live.size_bytes), left_count=format_count(each.live.count))
    for short in temporary(recording, filters=filters).rows:
        cell(short.group, temporary=format_count(short.temporary.count))
    threads = Filters(pids=filters.pids, tids=filters.tids)
    for high in peak(recording, threads, from_ns=filters.since_ns, to_ns=filters.until_ns).rows:
        cell(high.group, peak=format_bytes(high.live.size_bytes))
    return found


def without_live(found: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    return {
        name: {key: cell for key, cell in cells.items() if key != "live"} for name, cells in found.items()
    }


def window_of(page: Page) -> dict[str, int]:
    """Return the filters that the page names for its window, as its command has them."""
    command = page.locator(".window code").inner_text()
    return {name: int(value) for name, value in re.findall(r"--(since|until) (\d+)ns", command)}


def drag(page: Page, first: float, last: float) -> None:
    """Choose a window on the chart, from one part of its width to another."""
    page.locator(".u-over").scroll_into_view_if_needed()
    box = page.locator(".u-over").bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + first * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + (first + last) / 2 * box["width"], y)
    page.mouse.move(box["x"] + last * box["width"], y)
    page.mouse.up()
    settle(page)


def settle(page: Page) -> None:
    """Wait until the page has drawn what was asked for."""
    page.evaluate(
        "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done())))"
    )


def chosen(page: Page, label: str) -> Locator:
    return page.get_by_label(label, exact=True)


def test_the_verdict_stands_first_and_names_the_leaks(planted_page: Path, open_page: Open) -> None:
    """Whether, where, how sure: before anything has to be clicked."""
    page = open_page(planted_page)
    front = page.locator("header.front").inner_text()
    assert "Likely a leak: 3 places grow" in front
    assert "nothing is missing" in front
    places = page.locator(".where li").all_inner_texts()
    assert [place.split()[0] for place in places] == sorted(
        LEAKS, key=lambda name: -LEAKS[name][1] / LEAKS[name][0]
    )
    assert page.title() == "./server --port 80"


def test_verdicts_and_reasons_are_those_of_leaks(planted: Path, planted_page: Path, open_page: Open) -> None:
    page = open_page(planted_page)
    shown = {text.strip() for text in page.locator(".leaks .reason").all_text_contents()}
    assert shown == {leak.trend.sentence for leak in leaks_in(planted).leaks}


@pytest.mark.parametrize("window", [None, (0.0, 0.4), (0.3, 0.7), (0.5, 1.0)])
def test_a_window_has_the_numbers_of_the_questions(
    planted: Path, planted_page: Path, open_page: Open, window: tuple[float, float] | None
) -> None:
    """Of what was allocated in it, and of its highest moment, `peak --from --to`."""
    page = open_page(planted_page)
    if window is not None:
        drag(page, *window)
        assert window_of(page)
    bounds = window_of(page)
    filters = Filters(since_ns=bounds.get("since", 0), until_ns=bounds.get("until"))
    recording = open_recording(planted)
    found = without_live(rows(page))
    wanted = expected(recording, filters)
    assert {name: cells for name, cells in found.items() if name in wanted} == wanted
    text = page.locator(".window").inner_text()
    left = sum(leak.live_bytes for leak in leaks_in(planted, filters).leaks)
    assert f"{format_bytes(left)} of it never released" in text


def test_a_click_chooses_all_before_a_moment(planted: Path, planted_page: Path, open_page: Open) -> None:
    """What is live at the moment is what was allocated before it and not released before it."""
    page = open_page(planted_page)
    box = page.locator(".u-over").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 3, box["y"] + 50)
    settle(page)
    until_ns = window_of(page)["until"]
    [(live,)] = _sql(
        planted,
        f"""
        select sum(size_bytes) from allocations cross join (select min(timestamp_ns) as first_ns from events)
        where timestamp_ns - first_ns < {until_ns} and coalesce(released_ns - first_ns >= {until_ns}, true)
        """,
    )
    assert f"{format_bytes(int(live))} live at the end" in page.locator(".window").inner_text()


def _sql(recording: Path, query: str) -> list[tuple[Any, ...]]:
    with paired(open_recording(recording)) as connection:
        return connection.execute(query).fetchall()


def test_resident_memory_is_drawn_where_it_was_measured(
    planted: Path, planted_page: Path, open_page: Open, tmp_path: Path, report: Report
) -> None:
    """Its figure at a moment is that of `timeline`; without it nothing is said of it."""
    page = open_page(planted_page)
    page.locator(".u-over").scroll_into_view_if_needed()
    page.locator(".u-over").hover()
    settle(page)
    legend = page.locator(".u-legend").inner_text()
    most = timeline(open_recording(planted), 8).resident_bytes
    assert most is not None
    shown = re.search(r"RSS:?\s*([\d.]+ MiB)", legend)
    assert shown is not None, legend
    assert shown[1] in {format_bytes(RESIDENT_BYTES + 1000 * request) for request in range(1900, 2101, 100)}
    assert format_bytes(most[-1] or 0) == format_bytes(RESIDENT_BYTES + 1000 * (N_REQUESTS - 100))
    without = write_synthetic(tmp_path / "r.gadgetrec", 2000)
    assert "RSS" not in open_page(report(without)).locator(".u-legend").inner_text()


def test_a_filter_has_the_numbers_of_the_questions(
    planted: Path, planted_page: Path, open_page: Open
) -> None:
    page = open_page(planted_page)
    chosen(page, "Only thread").select_option("1/1 server")
    settle(page)
    wanted = expected(open_recording(planted), Filters(tids=(1,)))
    found = rows(page)
    for name, cells in wanted.items():
        # The peak of one thread is exact to a slot of time.
        assert {key: found[name][key] for key in ("left", "allocated", "calls", "temporary")} == {
            key: cells[key] for key in ("left", "allocated", "calls", "temporary")
        }


def test_recordings_together_are_told_apart_by_label(tmp_path: Path, report: Report, open_page: Open) -> None:
    before = write_planted(tmp_path / "a.gadgetrec", leaks=False)
    after = write_planted(tmp_path / "b.gadgetrec")
    page = open_page(report(before, after))
    chosen(page, "Only version").select_option("1")
    settle(page)
    wanted = expected(open_recording(before), Filters())
    assert {name: cells["allocated"] for name, cells in rows(page).items()} == {
        name: cells["allocated"] for name, cells in wanted.items()
    }


def test_the_flame_graph_is_walked_with_the_keyboard(planted_page: Path, open_page: Open) -> None:
    page = open_page(planted_page)
    canvas = page.locator("canvas[role=application]")
    canvas.focus()
    detail = page.locator(".detail")
    for _ in range(4):
        page.keyboard.press("ArrowDown")
    assert detail.inner_text().startswith("open_session (server): 1.95 MiB")
    page.keyboard.press("ArrowRight")
    assert detail.inner_text().startswith("copy_header (server)")
    page.keyboard.press("Enter")
    assert page.locator(".path").inner_text().splitlines() == [
        "copy_header",
        "serve",
        "main",
        "__libc_start_main",
    ]
    page.keyboard.press("Escape")
    assert detail.inner_text().startswith("all: ")


@pytest.mark.parametrize(
    ("shown", "by", "question"),
    [
        ("left", "bytes", "live"),
        ("allocated", "count", "calls"),
        ("temporary", "count", "temporary"),
        ("peak", "bytes", "peak"),
    ],
)
def test_the_flame_graphs_root_is_the_whole_of_the_question(
    planted: Path, planted_page: Path, open_page: Open, gadgetops: Any, shown: str, by: str, question: str
) -> None:
    page = open_page(planted_page)
    chosen(page, "Show").select_option(shown)
    chosen(page, "by").select_option(by)
    total = json.loads(gadgetops("top", planted, "--by", question, "--format", "json").out)["total"]
    wanted = format_bytes(total["bytes"]) if by == "bytes" else f"{format_count(total['count'])} calls"
    assert page.locator(".detail").inner_text() == f"all: {wanted}, 100 %"


def test_libraries_and_callers(planted_page: Path, open_page: Open) -> None:
    page = open_page(planted_page)
    chosen(page, "Hide libraries").check()
    page.locator("canvas[role=application]").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator(".detail").inner_text().startswith("main")
    chosen(page, "Callers of the innermost function").check()
    page.locator("canvas[role=application]").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator(".detail").inner_text().startswith("open_session")


def test_a_comparison_has_the_numbers_of_diff(
    tmp_path: Path, report: Report, open_page: Open, gadgetops: Any
) -> None:
    before = write_planted(tmp_path / "before.gadgetrec", leaks=False)
    after = write_planted(tmp_path / "after.gadgetrec")
    page = open_page(report(after, "--compare", before, "--per", "second"))
    chosen(page, "Show").select_option("change")
    found = json.loads(gadgetops("diff", before, after, "--per", "second", "--format", "json").out)
    scaled = sum(group["scaled_before"] for group in found["groups"]) or 0
    grown = found["after"]["total"]["bytes"] - found["before"]["total"]["bytes"] * found["scale"]
    text = page.locator(".detail").inner_text()
    earlier, now = re.fullmatch(r"all: (.*) before, (.*) now", text).groups()  # type: ignore[union-attr]
    assert now == format_bytes(found["after"]["total"]["bytes"])
    assert earlier == format_bytes(round(found["before"]["total"]["bytes"] * found["scale"]))
    assert grown > scaled


def test_the_table_is_sorted_and_searched(planted_page: Path, open_page: Open) -> None:
    page = open_page(planted_page)
    page.get_by_role("button", name="Calls").click()
    calls = [int(cells["calls"].replace(",", "")) for cells in rows(page).values()]
    assert calls == sorted(calls, reverse=True)
    chosen(page, "Search stacks").fill("AUDIT")
    assert [*rows(page)] == ["audit"]


HOSTILE = {
    "render": "</script><script>document.title='owned'</script>",
    "audit": "<img src=x onerror=\"document.title='owned'\">",
    "cache_put": "\x1b]0;owned\x07\u202egnp.exe\u2066\u0085\u2028",
    "serve": "--><!--{title}%s\\u003c/script\\u003e",
}


@pytest.mark.parametrize("output_format", ["html", "svg"])
def test_hostile_names_are_only_text(
    tmp_path: Path, report: Report, open_page: Open, output_format: str
) -> None:
    """Names of the traced program neither run, nor reorder what stands beside them, nor end a tag."""
    recording = write_planted(tmp_path / "r.gadgetrec", names=HOSTILE)
    if output_format == "svg":
        text = report(recording, "--format", "svg", "--by", "calls", name="r.svg").read_text()
        assert not re.search(r"<script|<img|[\x1b\u202e\u2066\u2028]", text)
        return
    path = report(recording)
    assert not re.search("[\x1b\u202e\u2066\u2028]", path.read_text())
    page = open_page(path)
    assert page.title() == "./server --port 80"
    body = page.locator("body").inner_text()
    assert HOSTILE["render"] in body
    assert "gnp.exe" in body
    assert not re.search("[\x1b\u202e\u2066\u2028]", body)
    assert page.locator("img").count() == 0


def test_an_empty_recording_says_so(tmp_path: Path, report: Report, open_page: Open) -> None:
    writer = RecordingWriter.create(tmp_path / "empty.gadgetrec", {})
    writer.close(counters={"lost": 0}, end="complete")
    page = open_page(report(writer.path))
    assert "Nothing was recorded" in page.locator("header.front").inner_text()


def test_sources_are_shown_only_when_asked_for_and_only_of_source_files(
    tmp_path: Path, report: Report, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording may come from a stranger: it names files, and gets no other than sources."""
    source, secret = tmp_path / "server.c", tmp_path / "secret.key"
    for path in (source, secret):
        path.write_text("".join(f"line {number}\n" for number in range(1, 100)))
    row = SymbolRow
    for path, is_shown in ((source, True), (secret, False)):
        monkeypatch.setattr(
            services.planted, "SymbolRow", lambda *cells, path=path: row(*cells[:3], str(path), cells[4])
        )
        recording = write_planted(tmp_path / f"{path.name}.gadgetrec")
        page = open_page(report(recording, "--sources"))
        page.locator(".leaks summary").first.click()
        assert (page.locator(".source").count() > 0) is is_shown
    page = open_page(report(recording))
    assert page.locator(".source").count() == 0


@pytest.fixture(scope="module")
def axe() -> str:
    """The program of axe-core; the page may come from a cache, which has not fetched npm's packages."""
    subprocess.run([ROOT / "scripts/build_report.sh", "packages"], check=True)
    return (ROOT / "web/node_modules/axe-core/axe.min.js").read_text()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(
    planted: Path, report: Report, open_page: Open, axe: str, width: int, scheme: str
) -> None:
    """Names, roles, contrast and order are what a screen reader needs, with everything opened."""
    page = open_page(report(planted, "--compare", planted), width=width, scheme=scheme, bypass_csp=True)
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    page.evaluate(axe)
    found = page.evaluate(
        "async () => (await axe.run()).violations.map(each => [each.id, each.nodes.map(node => node.html)])"
    )
    assert found == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_nothing_may_be_loaded(planted_page: Path) -> None:
    text = planted_page.read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy[1]
    assert len(re.findall(r"<script", text)) == 2
    assert "Permission is hereby granted" in text
