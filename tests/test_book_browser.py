"""The built book in Chromium over file://: no page needs a network, every dial moves its picture.

Skipped without a browser or a built book, except under CI=true, where either is a failure.
"""

import os
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

HTML = Path(__file__).resolve().parents[1] / "book/_build/html"
PAGES = sorted(str(p.relative_to(HTML)) for p in HTML.rglob("*.html") if "_static" not in p.parts)
CHAPTERS = [p for p in PAGES if p.startswith("notebooks/")]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
# Text that differs when the pictures shown inside an element differ.
PICTURES = """async root => {
    const shown = [...root.querySelectorAll(".widget-image")].filter(e => e.offsetParent !== null);
    const bytes = await Promise.all(shown.map(async e => (await fetch(e.src)).arrayBuffer()));
    const hashes = await Promise.all(bytes.map(b => crypto.subtle.digest("SHA-256", b)));
    return hashes.map(h => new Uint8Array(h).join()).join(" ");
}"""


def skip_or_fail(reason):
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        skip_or_fail(f"none of {', '.join(BROWSERS)} is installed")
    if not CHAPTERS:
        skip_or_fail("the book is not built: run `make book`")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    """A page that notes what it asks for outside the book and what goes wrong in it."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.problems = []
    inside = (HTML.as_uri(), "data:", "blob:")
    page.on(
        "request", lambda r: r.url.startswith(inside) or page.problems.append(f"asks for {r.url}")
    )
    page.on("requestfailed", lambda r: page.problems.append(f"did not find {r.url}"))
    page.on("pageerror", lambda e: page.problems.append(f"error {e}"))
    yield page
    page.close()


def pictures(explorer):
    """Return text that identifies the pictures that an explorer shows now."""
    shown = explorer.evaluate(PICTURES)
    assert shown, "no picture is visible"
    return shown


def assert_changes(page, explorer, before, what):
    """Wait for an explorer to show other pictures than `before`."""
    for _ in range(40):
        if pictures(explorer) != before:
            return
        page.wait_for_timeout(50)
    pytest.fail(f"{what} does not change the picture")


def open_chapter(page, chapter):
    page.goto((HTML / chapter).as_uri())
    page.wait_for_load_state("networkidle")
    if "application/vnd.jupyter.widget-view+json" in page.content():
        page.wait_for_selector(".jupyter-widgets")
    page.wait_for_timeout(300)
    return page.query_selector_all(".dash-explorer")


def test_the_book_is_built(browser):
    assert "index.html" in PAGES
    assert CHAPTERS


@pytest.mark.parametrize("name", PAGES)
def test_page_is_complete_without_a_network(page, name):
    page.goto((HTML / name).as_uri())
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(200)
    assert page.problems == []
    assert page.query_selector_all("mjx-merror") == [], "a formula does not typeset"


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_slider_moves_its_picture(page, name):
    explorers = open_chapter(page, name)
    assert explorers, "the chapter has no explorer"
    handles = [(e, h) for e in explorers for h in e.query_selector_all(".noUi-handle")]
    assert len(handles) == len(page.query_selector_all(".noUi-handle")), (
        "a slider outside .dash-explorer"
    )
    for number, (explorer, handle) in enumerate(handles, start=1):
        at_the_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
        before = pictures(explorer)
        handle.focus()
        page.keyboard.press("ArrowLeft" if at_the_end else "ArrowRight")
        assert_changes(page, explorer, before, f"slider {number} of {len(handles)}")
    assert page.problems == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_button_moves_its_picture(page, name):
    for explorer in open_chapter(page, name):
        for group in explorer.query_selector_all(".widget-toggle-buttons"):
            before = pictures(explorer)
            group.query_selector("button:not(.mod-active)").click()
            assert_changes(page, explorer, before, "a toggle button")
        for play in explorer.query_selector_all(".widget-play"):
            before = pictures(explorer)
            play.query_selector("button").click()
            assert_changes(page, explorer, before, "Play")
            play.query_selector("button").click()
    assert page.problems == []
