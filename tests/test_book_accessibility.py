"""The built book for every reader: names, contrast, small screens, both themes (axe-core's rules).

`tests/vendor/axe.min.js` is axe-core (MPL 2.0), fetched by book/scripts/vendor_js.sh.
"""

from pathlib import Path

import pytest
from book_pages import HTML, PAGES, emptied, shared, visit

pytestmark = pytest.mark.browser

AXE = (Path(__file__).parent / "vendor/axe.min.js").read_text()
RUN = """async rules => (await axe.run(document, {
    resultTypes: ["violations"], ...(rules.length && {runOnly: rules})
})).violations.map(v => [
    v.impact, v.id, v.nodes.map(n => n.html.slice(0, 160) + " // " + n.failureSummary)])"""
COLOURS = ["color-contrast", "link-in-text-block"]
BAD = ("serious", "critical")
THEME = """theme => { for (const key of ["mode", "theme"]) localStorage.setItem(key, theme); }"""
SHOWN = "document.documentElement.dataset.theme"
FRAME = "() => new Promise(go => requestAnimationFrame(() => requestAnimationFrame(go)))"
FADED = "() => document.getAnimations().every(one => !(one instanceof CSSTransition))"


@pytest.fixture(scope="module")
def pages(chromium):
    with shared(chromium, viewport={"width": 1280, "height": 900}) as page:
        yield page


@pytest.fixture
def page(pages):
    return emptied(pages)


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(page, name):
    """In the light; then, in the dark, by the rules that look at colours."""
    visit(page, (HTML / name).as_uri())
    page.evaluate(AXE)
    for theme, rules in (("light", []), ("dark", COLOURS)):
        page.evaluate(f"{SHOWN} = '{theme}'")
        page.evaluate(FRAME)  # in which colours begin to fade
        page.wait_for_function(FADED)
        found = page.evaluate(RUN, rules)
        assert [violation for violation in found if violation[0] in BAD] == [], theme


def test_a_reader_may_choose_the_theme(page):
    for theme in ("dark", "light"):
        visit(page, (HTML / "index.html").as_uri())
        page.evaluate(THEME, theme)
        page.reload()
        assert page.evaluate(SHOWN) == theme
