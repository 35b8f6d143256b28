"""Reports opened in a real Chromium, without a network."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from gadgetops import commands
from gadgetops.report.page.bundle import bundle

CHROMIUM = "chromium"
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium of the distribution, headless; while it is there, no other test may have an event loop."""
    program = shutil.which(CHROMIUM)
    if program is None:
        pytest.skip("no `chromium` on PATH: scripts/setup.sh test installs it")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--font-render-hinting=none", "--disable-lcd-text"]
        launched = playwright.chromium.launch(executable_path=program, args=arguments)
        yield launched
        launched.close()


@pytest.fixture
def report(tmp_path: Path) -> Callable[..., Path]:
    """Write a report as the command line does: `report(recording, "--sources")`; returns the file."""

    def write(*arguments: object, name: str = "report.html") -> Path:
        path = tmp_path / name
        status = commands.main(["report", *map(str, arguments), "-o", str(path), "--force"])
        assert status in (0, 4)
        return path

    return write


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Open a file offline: `open_page(path, width=390, scheme="dark")`; fails on any error or request."""
    contexts, troubles = [], []

    def open_(path: Path, *, width: int = 1280, scheme: Any = "light", **options: Any) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            offline=True,
            locale="en-US",
            **options,
        )
        # Only a limit: other tests may have the machine.
        context.set_default_timeout(120_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on("request", lambda request: request.url == path.as_uri() or troubles.append(request.url))
        page.goto(path.as_uri())
        page.locator("html[data-ready]").wait_for()
        return page

    yield open_
    for context in contexts:
        context.close()
    assert troubles == []


@pytest.fixture(scope="session", autouse=True)
def _built_page() -> None:
    """Make the page's program before the clock of any test runs."""
    bundle()
