"""The report in a real browser: on a phone, on a desk, on paper; nothing is loaded, runs or is cut off."""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Dialog, Page, sync_playwright
from tests.penstock_cli.report.shop import EVIL, Shop, make_profile

from penstock_cli.report.gathering import gather
from penstock_cli.report.page import page

PHONE, DESK = (360, 740), (1280, 900)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a shop whose amounts have drifted."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        profile = make_profile(folder, patch)
    file = folder / "report.html"
    file.write_text(page(gather(Shop(profile), "fraud-guard"), now=datetime(2026, 11, 21, 13, tzinfo=UTC)))
    return file


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = os.environ.get("PENSTOCK_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.fail("there is no Chromium: run python cluster/browser.py, or name yours in PENSTOCK_CHROMIUM")
    with sync_playwright() as playwright:
        # Without a sandbox of its own: in a container, root may not have one. It sees one file that we wrote.
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


class Visit:
    """One look at the report, and everything that the browser said or asked for meanwhile."""

    def __init__(self, browser: Browser, report: Path, size: tuple[int, int], scheme: str = "light") -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if scheme == "dark" else "light"
        )
        self.page: Page = context.new_page()
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", self._dismiss)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(report.as_uri())

    def _dismiss(self, dialog: Dialog) -> None:
        self.said.append(dialog.message)
        dialog.dismiss()


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_nothing_is_wider_than_the_screen(browser: Browser, report: Path, size: tuple[int, int]) -> None:
    visit = Visit(browser, report, size)
    assert visit.page.evaluate("document.documentElement.scrollWidth") == size[0]
    cut = """[...document.querySelectorAll("h1,h2,h3,p,li,td,dd,figcaption")]
        .filter(one => one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0).map(one => one.textContent)"""
    assert visit.page.evaluate(cut) == []


def test_the_browser_loads_nothing_and_runs_nothing(browser: Browser, report: Path) -> None:
    visit = Visit(browser, report, DESK)
    assert visit.asked == [report.as_uri()]
    assert visit.said == []
    assert visit.page.locator("script, img").count() == 0
    assert visit.page.get_by_text(f"inputs/{EVIL}").first.is_visible()


def test_every_column_is_drawn_with_both_distributions(browser: Browser, report: Path) -> None:
    visit = Visit(browser, report, DESK)
    cards = visit.page.locator("article.card")
    assert cards.count() == 10
    for place in range(cards.count()):
        drawn = cards.nth(place).locator("svg.histogram")
        box = drawn.bounding_box()
        assert box is not None
        assert box["width"] > 150
        assert box["height"] > 40
        assert drawn.locator("g.live rect").count() == drawn.locator("g.reference rect").count() > 1
    tallest = visit.page.evaluate(
        """Math.max(...[...document.querySelectorAll("article.card")][0].querySelectorAll("g.live rect").values()
            .map(bar => bar.getBoundingClientRect().height))"""
    )
    assert tallest > 40


def test_the_cause_has_the_longest_bar(browser: Browser, report: Path) -> None:
    visit = Visit(browser, report, PHONE)
    first = visit.page.locator("ol.ranking").first.locator("li")
    assert first.nth(0).locator(".name").text_content() == "inputs/amount"
    lengths = [first.nth(place).locator(".bar").bounding_box() for place in range(first.count())]
    widths = [box["width"] if box else 0.0 for box in lengths]
    assert widths[0] == max(widths)
    assert widths[0] > 10 * max(widths[1:])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_letters_stand_out_from_the_page(browser: Browser, report: Path, scheme: str) -> None:
    visit = Visit(browser, report, PHONE, scheme)
    for selector in ("body", ".quiet", ".bad", ".good"):
        ratio = visit.page.evaluate(_CONTRAST, selector)
        assert ratio >= 4.5, f"{selector} in {scheme}: {ratio}"


def test_on_paper_it_has_pages_and_all_of_its_words(browser: Browser, report: Path) -> None:
    visit = Visit(browser, report, DESK)
    visit.page.emulate_media(media="print")
    paper = visit.page.pdf(format="A4")
    assert paper.startswith(b"%PDF")
    assert paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page ") + paper.count(b"/Type /Page/") >= 2
    assert visit.page.locator("table").first.is_visible()


_CONTRAST = """selector => {
  const channel = value => { const s = value / 255; return s <= 0.03928 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4; };
  const light = colour => { const [r, g, b] = colour.match(/[\\d.]+/g).map(Number);
    return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b); };
  const one = light(getComputedStyle(document.querySelector(selector)).color);
  const other = light(getComputedStyle(document.body).backgroundColor);
  return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
}"""
