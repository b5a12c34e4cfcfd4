"""Light pages: only the icons that the book shows, and formulas only where there are some.

The theme's 2,000 icons weigh 1.6 MB on every page; what typesets formulas 0.9 MB, also on a page
without any that merely lists chapters.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydata_sphinx_theme
from docutils import nodes
from sphinx.application import Sphinx

THEME = Path(pydata_sphinx_theme.__file__).parent / "theme/pydata_sphinx_theme/static"
ICON = re.compile(r'"?([a-z0-9-]+)"?:\[\d+,\d+,\[[^\]]*\],"[0-9a-f]+",(?:\[[^\]]*\]|"[^"]*")\],?')
RULE = re.compile(r'((?:\.fa-[a-z0-9-]+:before,?)+)\{content:"[^"]*"\}')
NAME = re.compile(r"\bfa-([a-z0-9-]+)")
FILES = {"scripts/fontawesome.js": ICON, "styles/pydata-sphinx-theme.css": RULE}


def only(names: set[str], text: str, entry: re.Pattern[str]) -> str:
    """The text without the entries of icons of other names."""

    def named(found: re.Match[str]) -> set[str]:
        return {found[1], *NAME.findall(found[1])}

    return entry.sub(lambda found: found[0] if named(found) & names else "", text)


def texts(html: Path) -> Iterator[str]:
    """Whatever may name an icon: the pages, and the theme's own scripts."""
    scripts = (path for path in (THEME / "scripts").glob("*.js") if "fontawesome" not in path.name)
    return (path.read_text() for path in [*html.rglob("*.html"), *scripts])


def trim(app: Sphinx, error: Exception | None) -> None:
    """Replace the built script and style sheet."""
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir)
    names = {name for text in texts(out) for name in NAME.findall(text)}
    for file, entry in FILES.items():
        (out / "_static" / file).write_text(only(names, (THEME / file).read_text(), entry))


def drop_formulas(
    app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None
) -> None:
    """Take MathJax out of the scripts of a page that has no formula."""
    if tree is None or not any(
        tree.findall(lambda n: isinstance(n, nodes.math | nodes.math_block))
    ):
        scripts = context["script_files"]
        context["script_files"] = [s for s in scripts if "mathjax" not in str(s.filename).lower()]


def setup(app: Sphinx) -> dict[str, Any]:
    """Look at every page after those who add scripts to it, and trim at the end of the build."""
    app.connect("html-page-context", drop_formulas, priority=900)
    app.connect("build-finished", trim)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
