"""The built book for every reader: names, contrast, small screens, both themes (axe-core's rules).

`tests/vendor/axe.min.js` is axe-core (MPL 2.0), fetched by book/scripts/vendor_js.sh.
"""

from pathlib import Path

import pytest
from book_pages import CHAPTERS, HTML, PAGES, skip_or_fail, visit

pytestmark = pytest.mark.browser

AXE = (Path(__file__).parent / "vendor/axe.min.js").read_text()
RUN = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations.map(v => [
    v.impact, v.id, v.nodes.map(n => n.html.slice(0, 160) + " // " + n.failureSummary)])"""
BAD = ("serious", "critical")
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


@pytest.fixture(params=["light", "dark"])
def theme(request):
    return request.param


@pytest.fixture
def open_page(chromium):
    """Open a page at a width and in a theme."""
    if not CHAPTERS:
        skip_or_fail("the book is not built: run `make book`")
    contexts = []

    def opened(name, *, width=1280, theme="light"):
        context = chromium.new_context(viewport={"width": width, "height": 900})
        contexts.append(context)
        store = ";".join(f"localStorage.setItem('{key}', '{theme}')" for key in ("mode", "theme"))
        context.add_init_script(store)
        page = context.new_page()
        visit(page, (HTML / name).as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(open_page, name, theme):
    page = open_page(name, theme=theme)
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    page.evaluate(AXE)
    found = page.evaluate(RUN)
    assert [violation for violation in found if violation[0] in BAD] == []


@pytest.mark.parametrize("name", PAGES)
def test_nothing_scrolls_sideways_on_a_phone(open_page, name):
    page = open_page(name, width=400)
    root = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert root[0] <= root[1], page.evaluate(BEYOND)
    assert page.evaluate(BEYOND) == []
    assert page.evaluate(CLIPPED) == [], "an explorer is cut off"


@pytest.mark.parametrize("name", CHAPTERS)
def test_sliders_and_buttons_say_what_they_are(open_page, name):
    page = open_page(name)
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


def readout(handle):
    """Return the value that is shown beside a slider."""
    return handle.evaluate(
        "h => h.closest('.widget-slider').querySelector('.widget-readout').textContent"
    )


@pytest.mark.parametrize("name", PAGES)
def test_pictures_have_words(open_page, name):
    page = open_page(name)
    for image in page.query_selector_all("main img"):
        alt = image.get_attribute("alt") or ""
        assert len(alt) > 10, image.evaluate("i => i.outerHTML.slice(0, 200)")
        assert not alt.endswith((".png", ".svg")), f"a file name is no description: {alt}"
