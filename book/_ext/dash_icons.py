"""Only the icons that the book shows: the theme's 2,000 weigh 1.5 MB on every page."""

import re
from pathlib import Path
from typing import Any

import pydata_sphinx_theme
from sphinx.application import Sphinx

THEME = Path(pydata_sphinx_theme.__file__).parent / "theme/pydata_sphinx_theme"
SCRIPT = "scripts/fontawesome.js"
ICON = re.compile(r'"?([a-z0-9-]+)"?:\[\d+,\d+,\[[^\]]*\],"[0-9a-f]+",(?:\[[^\]]*\]|"[^"]*")\],?')
USED = re.compile(r"\bfa-([a-z0-9-]+)")


def only(names: set[str], script: str) -> str:
    """The script without the icons of other names."""
    return ICON.sub(lambda icon: icon[0] if icon[1] in names else "", script)


def trim(app: Sphinx, error: Exception | None) -> None:
    """Replace the built script; what a page or a script of the theme names stays."""
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir)
    theme = [path for path in (THEME / "static/scripts").glob("*.js") if path.name not in SCRIPT]
    texts = (path.read_text() for path in [*out.rglob("*.html"), *theme])
    names = {name for text in texts for name in USED.findall(text)}
    (out / "_static" / SCRIPT).write_text(only(names, (THEME / "static" / SCRIPT).read_text()))


def setup(app: Sphinx) -> dict[str, Any]:
    """Trim at the end of the build."""
    app.connect("build-finished", trim)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
