"""Light pages: a page loads what it uses.

The theme's 2,000 icons weigh 1.8 MB, as a script and as fonts: the built book has those that some
page names, as one small font.  KaTeX typesets formulas, on pages that have some; MathJax, which
Sphinx would load, is three times as heavy.  The index of the search is left to the search page,
what draws cards and tabs to pages that have some.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydata_sphinx_theme
from docutils import nodes
from fontTools import subset
from sphinx.application import Sphinx

THEME = Path(pydata_sphinx_theme.__file__).parent / "theme/pydata_sphinx_theme/static"
SHEET, FONTS = "styles/pydata-sphinx-theme.css", "vendor/fontawesome/webfonts"
RULE = re.compile(r'((?:\.fa-[a-z0-9-]+:before,?)+)\{content:"[^"]*"\}')
NAME = re.compile(r"\bfa-([a-z0-9-]+)")
ICON = re.compile(r"\\([ef][0-9a-f]{3})\b|([\ue000-\uf8ff])")
SOURCE = re.compile(r'src:url\([^)]*/(fa-[a-z]+-\d+)\.woff2\)[^}]*format\("truetype"\)')
LOADED = r"\s*<(?:script|link)\b[^>]*\b(?:{})\.(?:js|css)\b[^>]*>(?:</script>)?"
SEARCH = ("searchtools", "language_data", "searchindex")
DESIGN = ("design-tabs", "sphinx-design.min")
SHEET_TEXT = (THEME / SHEET).read_text()
KATEX = ("katex/katex.min.js", "katex/auto-render.min.js")


def only(names: set[str], sheet: str) -> str:
    """The style sheet without the rules of icons of other names."""
    return RULE.sub(lambda found: found[0] if names & {*NAME.findall(found[1])} else "", sheet)


def icons(sheet: str) -> set[int]:
    """The code points of the icons that a style sheet mentions."""
    return {int(code, 16) if code else ord(char) for code, char in ICON.findall(sheet)}


def write_font(name: str, codes: set[int], folder: Path) -> None:
    """Write a font of the theme with these glyphs alone."""
    options = subset.Options(flavor="woff", desubroutinize=True)
    font = subset.load_font(THEME / FONTS / f"{name}.ttf", options)
    chosen = subset.Subsetter(options)
    chosen.populate(unicodes=codes)
    chosen.subset(font)
    subset.save_font(font, folder / f"{name}.woff", options)


def texts(html: Path) -> Iterator[str]:
    """Whatever may name an icon: the pages, and the theme's own scripts."""
    scripts = (path for path in (THEME / "scripts").glob("*.js") if "fontawesome" not in path.name)
    return (path.read_text() for path in [*html.rglob("*.html"), *scripts])


def trim(app: Sphinx, error: Exception | None) -> None:
    """Replace the built style sheet and its fonts, and drop what a page can do without."""
    if error or app.builder.format != "html":
        return
    out, static = Path(app.outdir), Path(app.outdir) / "_static"
    sheet = only({name for text in texts(out) for name in NAME.findall(text)}, SHEET_TEXT)
    codes = icons(sheet + (static / "styles/sphinx-book-theme.css").read_text())
    for name in SOURCE.findall(sheet):
        write_font(name, codes, static / FONTS)
    to_woff = rf'src:url(../{FONTS}/\1.woff) format("woff")'
    (static / SHEET).write_text(SOURCE.sub(to_woff, sheet))
    for page in out.rglob("*.html"):
        page.write_text(light(page.read_text(), search=page.stem == "search"))


def light(page: str, *, search: bool) -> str:
    """The page without the scripts and style sheets that it can do without."""
    unused = ["fontawesome"] if search else ["fontawesome", *SEARCH]
    unused += [] if re.search(r'class="(?:[^"]* )?sd-', page) else DESIGN
    return re.sub(LOADED.format("|".join(unused)), "", page)


def katex(
    app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None
) -> None:
    """Load KaTeX on a page that has formulas, and MathJax on none."""
    if tree and next(tree.findall(lambda n: isinstance(n, nodes.math | nodes.math_block)), None):
        app.add_css_file("offline/katex/katex.min.css")
        for script in KATEX:
            app.add_js_file(f"offline/{script}", loading_method="defer")
    scripts = context["script_files"]
    scripts[:] = [script for script in scripts if "mathjax" not in str(script).lower()]


def setup(app: Sphinx) -> dict[str, Any]:
    """Look at every page after those who add scripts to it, and trim at the end of the build."""
    app.connect("html-page-context", katex, priority=900)
    app.connect("build-finished", trim)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
