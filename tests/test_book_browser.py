"""The built book in Chromium: no page needs a network, every dial moves its picture.

Skipped without a browser or a built book, except under CI=true, where either is a failure.
"""

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest
from book_pages import CHAPTERS, HTML, PAGES, explorers, skip_or_fail, visit, watched

pytestmark = pytest.mark.browser

# Text that differs when the pictures shown inside an element differ.
PICTURES = """async root => {
    const shown = [...root.querySelectorAll(".widget-image")].filter(e => e.offsetParent !== null);
    const bytes = await Promise.all(shown.map(async e => (await fetch(e.src)).arrayBuffer()));
    const hashes = bytes.map(b => new Uint8Array(b).reduce((h, x) => (31 * h + x) | 0, 0));
    return hashes.join(" ");
}"""

# Bytes of a page with all that it loads: with the widget manager, else with formulas, else plain.
WEIGHT = {"embed-amd.js": 8_200_000, "startup.js": 1_950_000, "": 1_200_000}

# Elements of the text that reach beyond the screen without lying in a box that scrolls by itself.
BEYOND = """() => [...document.querySelectorAll(".bd-article *")].filter(e => {
    const box = e.getBoundingClientRect();
    if (box.width === 0 || box.right <= innerWidth + 1) return false;
    for (let p = e.parentElement; p; p = p.parentElement) {
        if (/auto|scroll|hidden|clip/.test(getComputedStyle(p).overflowX)) return false;
    }
    return true;
}).map(e => e.outerHTML.slice(0, 120))"""
CLIPPED = """() => [...document.querySelectorAll(".dash-explorer *")].filter(e => {
    const box = e.getBoundingClientRect();
    const card = e.closest(".dash-explorer").getBoundingClientRect();
    return box.width > 0 && box.right > card.right + 1 && !e.closest("mjx-assistive-mml");
}).map(e => e.outerHTML.slice(0, 120))"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    """Serve the book over http; return its address."""
    handler = functools.partial(Quiet, directory=str(HTML))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.fixture
def page(chromium):
    if not CHAPTERS:
        skip_or_fail("the book is not built: run `make book`")
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    yield watched(context, HTML.as_uri())
    context.close()


@pytest.fixture
def phone(chromium):
    context = chromium.new_context(viewport={"width": 400, "height": 900}, has_touch=True)
    yield watched(context, HTML.as_uri())
    context.close()


def pictures(explorer):
    """Return text that identifies the pictures that an explorer shows now."""
    shown = explorer.evaluate(PICTURES)
    assert shown, "no picture is visible"
    return shown


def assert_changes(page, explorer, before, what):
    """Wait for an explorer to show other pictures than `before`."""
    for _ in range(60):
        if pictures(explorer) != before:
            return
        page.wait_for_timeout(50)
    pytest.fail(f"{what} does not change the picture")


def handles(page):
    """Return every slider's handle with its explorer."""
    return [(e, h) for e in explorers(page) for h in e.query_selector_all(".noUi-handle")]


def at_the_end(handle):
    return handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")


def far_end(handle):
    """Return a point on the track of a handle, near the end that is farther away from it."""
    handle.scroll_into_view_if_needed()
    track = handle.evaluate_handle("handle => handle.closest('.noUi-base')").bounding_box()
    middle = handle.bounding_box()["x"] + handle.bounding_box()["width"] / 2
    left = middle - track["x"] > track["width"] / 2
    x = track["x"] + (2 if left else track["width"] - 2)
    return x, track["y"] + track["height"] / 2


def drag(page, handle):
    (x, y), box = far_end(handle), handle.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(x, y, steps=5)
    page.mouse.up()


def press(page, handle):
    back = at_the_end(handle)
    handle.focus()
    page.keyboard.press("ArrowLeft" if back else "ArrowRight")


def click(page, handle):
    page.mouse.click(*far_end(handle))


def tap(page, handle):
    page.touchscreen.tap(*far_end(handle))


def test_the_book_is_built(page):
    assert "index.html" in PAGES
    assert CHAPTERS


@pytest.mark.parametrize("name", PAGES)
def test_page_is_complete_without_a_network(page, name):
    """Pictures have words, and dials say what they are and where they stand, too."""
    visit(page, (HTML / name).as_uri())
    assert page.query_selector_all("mjx-merror") == [], "a formula does not typeset"
    for image in page.query_selector_all("main img"):
        alt = image.get_attribute("alt") or ""
        assert len(alt) > 10, image.evaluate("i => i.outerHTML.slice(0, 200)")
        assert not alt.endswith((".png", ".svg")), f"a file name is no description: {alt}"
    for handle in page.query_selector_all(".dash-explorer .noUi-handle"):
        assert handle.get_attribute("aria-label")
        assert handle.get_attribute("aria-valuetext") == readout(handle)
        handle.focus()
        for key in ("Home", "End"):
            page.keyboard.press(key)
            page.wait_for_timeout(50)
            assert handle.get_attribute("aria-valuetext") == readout(handle)
    for button in page.query_selector_all(".dash-explorer .widget-play button"):
        assert button.get_attribute("aria-label")
    assert page.problems == []


def readout(handle):
    """Return the value that is shown beside a slider."""
    return handle.evaluate(
        "h => h.closest('.widget-slider').querySelector('.widget-readout').textContent"
    )


@pytest.mark.parametrize("name", PAGES)
def test_page_asks_nobody_else_over_http_and_little_of_the_server(chromium, server, name):
    if not CHAPTERS:
        skip_or_fail("the book is not built: run `make book`")
    context, asked = chromium.new_context(), set()
    page = watched(context, server)
    page.on("request", lambda request: asked.add(request.url.split("?")[0]))
    visit(page, f"{server}/{name}")
    assert page.problems == []
    context.close()
    paths = [HTML / unquote(url.removeprefix(f"{server}/")) for url in asked if server in url]
    sizes = {str(p.relative_to(HTML)): p.stat().st_size for p in paths if p.is_file()}
    print(f"{sum(sizes.values()):,} bytes")
    limit = next(limit for part, limit in WEIGHT.items() if part in " ".join(sizes))
    assert sum(sizes.values()) <= limit, sizes


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_dial_moves_its_picture(page, name):
    """Sliders by key, drag and click on the track; toggle buttons; Play."""
    visit(page, (HTML / name).as_uri())
    found = handles(page)
    assert found, "the chapter has no explorer"
    assert len(found) == len(page.query_selector_all(".noUi-handle")), "a slider outside explorers"
    for move in (press, drag, click):
        for number, (explorer, handle) in enumerate(found, start=1):
            before = pictures(explorer)
            move(page, handle)
            what = f"{move.__name__}: slider {number} of {len(found)}"
            assert_changes(page, explorer, before, what)
    for explorer in explorers(page):
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


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_shows_all_and_every_slider_follows_a_finger(phone, name):
    """Nothing but what lies in a box of its own scrolls sideways; no explorer is cut off."""
    visit(phone, (HTML / name).as_uri())
    root = phone.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert root[0] <= root[1], phone.evaluate(BEYOND)
    assert phone.evaluate(BEYOND) == []
    assert phone.evaluate(CLIPPED) == [], "an explorer is cut off"
    for number, (explorer, handle) in enumerate(handles(phone), start=1):
        before = pictures(explorer)
        tap(phone, handle)
        assert_changes(phone, explorer, before, f"tap: slider {number}")
