"""The built book in Chromium: no page needs a network, every dial moves its picture.

Skipped without a browser or a built book, except under CI=true, where either is a failure.
"""

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

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
    context = chromium.new_context(viewport={"width": 400, "height": 800}, has_touch=True)
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
    visit(page, (HTML / name).as_uri())
    assert page.problems == []
    assert page.query_selector_all("mjx-merror") == [], "a formula does not typeset"


@pytest.mark.parametrize("name", PAGES)
def test_page_asks_nobody_else_over_http(chromium, server, name):
    if not CHAPTERS:
        skip_or_fail("the book is not built: run `make book`")
    context = chromium.new_context()
    page = watched(context, server)
    visit(page, f"{server}/{name}")
    assert page.problems == []
    context.close()


@pytest.mark.parametrize("move", [press, drag, click], ids=lambda move: move.__name__)
@pytest.mark.parametrize("name", CHAPTERS)
def test_every_slider_moves_its_picture(page, name, move):
    visit(page, (HTML / name).as_uri())
    found = handles(page)
    assert found, "the chapter has no explorer"
    assert len(found) == len(page.query_selector_all(".noUi-handle")), "a slider outside explorers"
    for number, (explorer, handle) in enumerate(found, start=1):
        before = pictures(explorer)
        move(page, handle)
        assert_changes(page, explorer, before, f"{move.__name__}: slider {number} of {len(found)}")
    assert page.problems == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_slider_follows_a_finger(phone, name):
    visit(phone, (HTML / name).as_uri())
    for number, (explorer, handle) in enumerate(handles(phone), start=1):
        before = pictures(explorer)
        tap(phone, handle)
        assert_changes(phone, explorer, before, f"tap: slider {number}")


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_button_moves_its_picture(page, name):
    visit(page, (HTML / name).as_uri())
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
