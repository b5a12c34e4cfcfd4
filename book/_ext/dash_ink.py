"""Figures in the dark theme: drawings turn over, pictures in colour keep their white card.

dashbook.plots.png marks a drawing of ink on paper.  On a page it gets the class ``dash-ink``.
In the dark theme _static/book.css turns it over: the paper becomes the page, and hues stay.
"""

import io
from pathlib import Path
from typing import Any

from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx

from dashbook.plots import INK

CLASS = "dash-ink"


def is_ink(data: bytes) -> bool:
    """Tell whether a PNG file is marked as a drawing of ink on paper."""
    return INK.items() <= Image.open(io.BytesIO(data)).info.items()


def mark_drawings(app: Sphinx, tree: nodes.document) -> None:
    """Give the drawings among the pictures of a page their class."""
    for image in tree.findall(nodes.image):
        path = Path(app.srcdir, image["uri"])
        if path.suffix == ".png" and is_ink(path.read_bytes()):
            image["classes"].append(CLASS)


def setup(app: Sphinx) -> dict[str, Any]:
    """Look at every page once its pictures are found."""
    app.connect("doctree-read", mark_drawings, priority=600)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
