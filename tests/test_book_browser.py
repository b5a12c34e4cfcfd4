"""The built book in Chromium: it needs no network, all can read it, every dial moves its picture.

Each page is opened twice: at a desk from the disk, and on a phone over http.  Skipped without a
browser or a built book, except under CI=true, where either is a failure.
"""

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest
from axe import SHOWN, assert_accessible
from book_pages import (
    CHAPTERS,
    HTML,
    PAGES,
    emptied,
    explorers,
    shared,
    skip_or_fail,
    visit,
)

pytestmark = pytest.mark.browser

COLD = 1_500_000  # bytes of a page with all that it loads before anybody touches it
DIALS = "input[type=range], select, fieldset"
AT = "dial => dial.selectedIndex ?? [...dial.elements].findIndex(e => e.checked)"

SWITCH, MODE = ".theme-switch-button", "document.documentElement.dataset.mode"

# What a page consists of, also where an earlier page has left it in the cache.
LOADED = """() => ["navigation", "resource"].flatMap(kind => performance.getEntriesByType(kind))
    .map(entry => entry.name).filter(name => name.startsWith("http"))"""

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
    return box.width > 0 && box.right > card.right + 1 && !e.closest(".katex-mathml");
}).map(e => e.outerHTML.slice(0, 120))"""
# What a wide screen cuts off, also of folded code: code that is wider than its box, what a box
# hides, and what reaches beyond the column of text without a box that scrolls by itself.
CUT = """() => {
    const closed = [...document.querySelectorAll("main details:not([open])")];
    for (const one of closed) one.open = true;
    const overflow = e => getComputedStyle(e).overflowX;
    const wider = e => e.clientWidth > 1 && e.scrollWidth > e.clientWidth + 1;
    const page = document.querySelector(".bd-article") ?? document.body;
    const edge = page.getBoundingClientRect().right + 1;
    const beyond = e => {
        const box = e.getBoundingClientRect();
        if (box.width === 0 || box.right <= edge) return false;
        for (let p = e.parentElement; p; p = p.parentElement)
            if (overflow(p) !== "visible") return false;
        return true;
    };
    const found = [...page.querySelectorAll("*")].filter(e => beyond(e)
        || wider(e) && (e.tagName === "PRE" || /hidden|clip/.test(overflow(e))));
    for (const one of closed) one.open = false;
    return found.map(e => `${e.tagName} ${e.id}: ${e.textContent.slice(0, 60)}`);
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


@pytest.fixture(scope="module")
def desktops(chromium):
    with shared(chromium, viewport={"width": 1280, "height": 900}) as page:
        yield page


@pytest.fixture(scope="module")
def phones(chromium, server):
    screen = {"width": 400, "height": 900}
    with shared(chromium, server, viewport=screen, has_touch=True) as page:
        yield page


@pytest.fixture
def page(desktops):
    return emptied(desktops)


@pytest.fixture
def phone(phones):
    return emptied(phones)


def picture(explorer):
    """Return the address and the words of the picture that an explorer shows now."""
    image = explorer.query_selector("img")
    assert image.is_visible()
    image.evaluate("image => image.decode()")  # loads it, or throws
    assert image.evaluate("image => image.complete && image.naturalWidth > 0")
    return image.get_attribute("src"), image.get_attribute("alt")


def assert_changes(page, explorer, before, what):
    """Wait for an explorer to show another picture than `before`, with other words."""
    for _ in range(60):
        page.wait_for_timeout(50)
        after = picture(explorer)
        if after[0] != before[0]:
            assert after[1] != before[1], f"{what} changes the picture, but not its words"
            return
    pytest.fail(f"{what} does not change the picture")


def dials(page):
    """Return every slider, list and row of buttons with its explorer."""
    return [(e, d) for e in explorers(page) for d in e.query_selector_all(DIALS)]


def is_slider(dial):
    return dial.evaluate("dial => dial.type") == "range"


def at_the_end(slider):
    return slider.evaluate("slider => slider.value === slider.max")


def far_end(slider):
    """Return a point on the track of a slider, near the end that is farther away from it."""
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    left = slider.evaluate("slider => slider.value / slider.max > 0.5")
    return box["x"] + (2 if left else box["width"] - 2), box["y"] + box["height"] / 2


def drag(page, slider):
    slider.evaluate("slider => slider.scrollIntoView({block: 'center'})")
    (x, y), box = far_end(slider), slider.bounding_box()
    share = slider.evaluate("slider => slider.value / slider.max")
    start = box["x"] + 8 + share * (box["width"] - 16)
    page.mouse.move(start, y)
    page.mouse.down()
    page.mouse.move(x, y, steps=5)
    page.mouse.up()


def press(page, dial):
    """Move a dial by the key for its next position, or the one before the last."""
    if is_slider(dial):
        back = at_the_end(dial)
        dial.focus()
    else:
        at = dial.evaluate(AT)
        back = at > 0
        (dial.query_selector("input:checked") or dial).focus()
    page.keyboard.press("ArrowLeft" if back else "ArrowRight")


def click(page, slider):
    page.mouse.click(*far_end(slider))


def tap(page, slider):
    page.touchscreen.tap(*far_end(slider))


def choose(_, dial):
    """Choose from a list or a row of buttons what is not chosen."""
    other = int(dial.evaluate(AT) == 0)
    if dial.evaluate("dial => dial.tagName") == "SELECT":
        dial.select_option(index=other)
    else:
        dial.query_selector_all("input")[other].check()


def test_the_book_is_built(page):
    assert "index.html" in PAGES
    assert CHAPTERS


@pytest.mark.parametrize("name", PAGES)
def test_page_needs_no_network_can_be_read_by_all_and_every_dial_moves_its_picture(page, name):
    visit(page, (HTML / name).as_uri())
    assert_complete(page)
    assert page.evaluate(CUT) == [], "cut off at 1,280 px"
    assert dials(page) or page.query_selector(".dash-live") or name not in CHAPTERS, "no explorer"
    assert_dials_move(page)
    assert_accessible(page)
    assert page.problems == []


def assert_complete(page):
    """Pictures have words, and dials say what they are and where they stand, too."""
    assert page.query_selector_all(".katex-error") == [], "a formula does not typeset"
    assert page.query_selector_all("[class*=widget], [type*=widget]") == [], "needs a manager"
    for image in page.query_selector_all("main img"):
        alt = image.get_attribute("alt") or ""
        assert len(alt) > 10, image.evaluate("i => i.outerHTML.slice(0, 200)")
        assert not alt.endswith((".png", ".svg")), f"a file name is no description: {alt}"
    for explorer, dial in dials(page):
        if not is_slider(dial):
            assert dial.evaluate("e => (e.labels?.[0] ?? e.querySelector('legend')).innerText")
            continue
        assert dial.get_attribute("aria-label")
        for key in ("Home", "End"):
            dial.focus()
            page.keyboard.press(key)
            shown = dial.evaluate("slider => slider.nextElementSibling.textContent")
            assert dial.get_attribute("aria-valuetext") == shown
            assert f": {shown}" in picture_words(explorer)


def picture_words(explorer):
    return explorer.query_selector("img").get_attribute("alt")


def assert_dials_move(page):
    """Sliders by key, drag and click on the track; lists and buttons by key and choice."""
    for number, (explorer, dial) in enumerate(dials(page), start=1):
        for move in (press, drag, click) if is_slider(dial) else (press, choose):
            before = picture(explorer)
            move(page, dial)
            assert_changes(page, explorer, before, f"{move.__name__}: dial {number}")


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_asks_little_of_the_server_alone_and_shows_all(phone, server, name):
    """Nothing but what lies in a box of its own scrolls sideways; sliders follow a finger."""
    visit(phone, f"{server}/{name}")
    loaded = phone.evaluate(LOADED)
    paths = {HTML / unquote(url.split("?")[0].removeprefix(f"{server}/")) for url in loaded}
    assert HTML / name in paths
    sizes = {str(p.relative_to(HTML)): p.stat().st_size for p in paths}
    print(f"{sum(sizes.values()):,} bytes")
    assert sum(sizes.values()) <= COLD, sizes
    root = phone.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert root[0] <= root[1], phone.evaluate(BEYOND)
    assert phone.evaluate(BEYOND) == []
    assert phone.evaluate(CLIPPED) == [], "an explorer is cut off"
    for number, (explorer, slider) in enumerate(filter(lambda d: is_slider(d[1]), dials(phone))):
        before = picture(explorer)
        tap(phone, slider)
        assert_changes(phone, explorer, before, f"tap: slider {number}")
    assert phone.problems == []


CUTS = {
    "<pre id='code'>" + "x" * 200 + "</pre>": ["PRE code"],
    "<details><pre id='folded'>" + "x" * 200 + "</pre></details>": ["PRE folded"],
    "<div id='box' style='overflow: hidden'><p style='width: 900px'>long</p></div>": ["DIV box"],
    "<table id='wide' style='width: 900px'></table>": ["TABLE wide"],
    "<div style='overflow-x: auto'><table style='width: 900px'></table></div>": [],
    "<p>short</p><pre>short</pre>": [],
}


@pytest.mark.parametrize("text", CUTS)
def test_what_is_cut_off_is_found(page, text):
    style = "<style>pre { overflow-x: auto } .bd-article { width: 600px }</style>"
    page.set_content(f"{style}<main><div class='bd-article'>{text}</div></main>")
    assert [one.split(":")[0] for one in page.evaluate(CUT)] == CUTS[text]
    assert page.query_selector("details[open]") is None


def test_a_reader_may_choose_the_theme(chromium, server):
    """By the button, and the next page has it, too, once the browser has written it down."""
    with shared(chromium, server) as page:
        visit(page, f"{server}/index.html")
        for theme in ("dark", "light"):
            for _ in range(3):  # light, dark, as the system has it
                if page.evaluate(MODE) != theme:
                    page.locator(SWITCH).first.click()
            assert page.evaluate(SHOWN) == theme
            for _ in range(20):
                visit(page, f"{server}/promises.html")
                if page.evaluate(MODE) == theme:
                    break
            assert page.evaluate(SHOWN) == theme
        assert page.problems == []


def test_without_javascript_a_picture_stands_there(chromium):
    if not CHAPTERS:
        skip_or_fail("the book is not built: run `make book`")
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((HTML / CHAPTERS[0]).as_uri())
    for explorer in page.locator(".dash-explorer").all():
        assert explorer.locator("img").is_visible()
        assert not explorer.locator("input, select, button").first.is_visible()
    context.close()
