"""A page for every reader: names, contrast, both themes (axe-core's rules).

`tests/vendor/axe.min.js` is axe-core (MPL 2.0), fetched by book/scripts/vendor_js.sh.
"""

from pathlib import Path

AXE = (Path(__file__).parent / "vendor/axe.min.js").read_text()
RUN = """async rules => (await axe.run(document, {
    resultTypes: ["violations"], selectors: false, preload: false,
    ...(rules.length && {runOnly: rules})
})).violations.map(v => [
    v.impact, v.id, v.nodes.map(n => n.html.slice(0, 160) + " // " + n.failureSummary)])"""
COLOURS = ["color-contrast", "link-in-text-block"]
BAD = ("serious", "critical")
SHOWN = "document.documentElement.dataset.theme"
FRAME = "() => new Promise(go => requestAnimationFrame(() => requestAnimationFrame(go)))"
FADED = "() => document.getAnimations().every(one => !(one instanceof CSSTransition))"


def assert_accessible(page):
    """In the light; then, in the dark, by the rules that look at colours."""
    page.evaluate(AXE)
    for theme, rules in (("light", []), ("dark", COLOURS)):
        page.evaluate(f"{SHOWN} = '{theme}'")
        page.evaluate(FRAME)  # in which colours begin to fade
        page.wait_for_function(FADED)
        found = page.evaluate(RUN, rules)
        assert [violation for violation in found if violation[0] in BAD] == [], theme
