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


# Code and formulas have thousands of spans, and axe-core looks behind each: of those that the
# stylesheets cannot tell apart one stays, and of the others only their text.
THIN = """() => {
    const seen = new Set();
    for (const one of document.querySelectorAll(".highlight span, .sig span, .katex")) {
        if ([...one.attributes].some(({ name }) => name !== "class")) continue;
        const classes = [one.className];
        for (let e = one.parentElement; e; e = e.parentElement)
            classes.push(`${e.tagName} ${e.className}`);
        const look = classes.join("/");
        const formula = one.querySelector(".katex-html");
        if (seen.has(look)) one.replaceWith(...(formula ? [formula.textContent] : one.childNodes));
        seen.add(look);
    }
}"""


def assert_accessible(page):
    """In the light; then, in the dark, by the rules that look at colours.

    It leaves less of code and formulas in the page.
    """
    page.evaluate(AXE)
    page.evaluate(THIN)
    for theme, rules in (("light", []), ("dark", COLOURS)):
        page.evaluate(f"{SHOWN} = '{theme}'")
        page.evaluate(FRAME)  # in which colours begin to fade
        page.wait_for_function(FADED)
        found = page.evaluate(RUN, rules)
        assert [violation for violation in found if violation[0] in BAD] == [], theme
