"""
Each part of a report looks as it did: screenshots beside stored pictures.

`UPDATE_PICTURES=1 pytest tests/browser/test_pictures.py` writes the pictures anew; look at each before it is
committed. Fonts and Chromium's versions differ a little: a share of pixels may be different.
"""

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page
from services.planted import write_planted

from gadgetops import commands

Open = Callable[..., Page]
PICTURES = Path(__file__).parent / "pictures"
SHARE = 0.04
"""So many pixels may be different, each by more than `STEP` of 255."""
STEP = 48
MARGIN = 0.06
"""By so much a picture may be higher or lower."""

PARTS = {
    "front": "header.front",
    "time": "section.time",
    "leaks": "section[aria-labelledby=grows]",
    "flames": "section[aria-labelledby=flames]",
    "stacks": "section[aria-labelledby=stacks]",
    "histograms": "section.pair",
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The report of a server with three leaks, and the same compared with one that has none."""
    folder = tmp_path_factory.mktemp("pages")
    before = write_planted(folder / "before.gadgetrec", leaks=False)
    after = write_planted(folder / "server.gadgetrec")
    for name, more in (("alone", []), ("compared", ["--compare", before])):
        arguments = ["report", after, "-o", folder / f"{name}.html", *more]
        assert commands.main([*map(str, arguments)]) == 0
    return {name: folder / f"{name}.html" for name in ("alone", "compared")}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_each_part_looks_as_it_did(
    pages: dict[str, Path], open_page: Open, part: str, width: int, scheme: str
) -> None:
    page = open_page(pages["alone"], width=width, scheme=scheme)
    # Where the recording is differs from run to run.
    page.evaluate("document.querySelector('.window').hidden = true")
    compare(page.locator(PARTS[part]).screenshot(), f"{part}-{width}")


@pytest.mark.parametrize("shown", ["live", "peak", "allocated", "temporary", "change"])
def test_each_flame_graph_looks_as_it_did(pages: dict[str, Path], open_page: Open, shown: str) -> None:
    page = open_page(pages["compared"])
    page.get_by_label("Show", exact=True).select_option(shown)
    page.get_by_label("Colour by", exact=True).select_option("verdict")
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    compare(page.locator("section[aria-labelledby=flames]").screenshot(), f"flames-{shown}")


def test_it_prints_without_controls(pages: dict[str, Path], open_page: Open) -> None:
    page = open_page(pages["alone"])
    page.emulate_media(media="print")
    assert page.locator(".controls:visible, button:visible").count() == 0
    page.evaluate("document.querySelector('.window').hidden = true")
    compare(page.locator("header.front").screenshot(), "front-print")


def compare(taken: bytes, name: str) -> None:
    """Compare a screenshot with the stored picture *name*, or store it."""
    path = PICTURES / f"{name}.png"
    found = Image.open(BytesIO(taken)).convert("RGB")
    if os.environ.get("UPDATE_PICTURES") == "1":
        PICTURES.mkdir(exist_ok=True)
        found.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
        return
    stored = Image.open(path).convert("RGB")
    assert found.width == stored.width
    assert abs(found.height - stored.height) <= max(8, MARGIN * stored.height), (
        f"{found.size}, not {stored.size}"
    )
    height = min(found.height, stored.height)
    one, other = (np.asarray(each.crop((0, 0, each.width, height)), np.int16) for each in (found, stored))
    share = float((np.abs(one - other).max(axis=2) > STEP).mean())
    assert share <= SHARE, f"{share:.1%} of {path.name} is different"
