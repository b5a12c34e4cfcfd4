"""Explorers of pictures drawn in advance, as plain inputs over one picture: no widget manager.

JupyterLab shows what dashbook.widgets makes, a box of controls over stacks of pictures.  A page has
the same, from the state that the notebook stores: sliders, lists and radio buttons (moved by
_static/explorer.js), and the pictures as files, of which a page loads one until somebody asks.
"""

import base64
import hashlib
import io
import json
from html import escape
from itertools import chain
from pathlib import Path
from typing import Any

from dash_ink import CLASS, is_ink
from PIL import Image
from sphinx.application import Sphinx

STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"
FOLDER = "_images/explorers"
Model = dict[str, Any]


class Explorers:
    """The explorers of one notebook; their pictures go to ``folder``, which pages call ``url``."""

    def __init__(self, models: Model, folder: Path, url: str) -> None:
        self.models, self.folder, self.url = models, folder, url

    def html(self, root: str) -> str:
        """The explorer whose outermost box has the id ``root``."""
        box, shown = self.children(self.models[root])
        inputs = self.children(box)
        controls = [control(f"{root}-{i}", model) for i, model in enumerate(inputs)]
        frames = [self.frame(model) for model in self.pictures(shown)]
        start = 0
        for state in (model["state"] for model in inputs):
            start = start * len(state["_options_labels"]) + state["index"]
        src, alt, (width, height) = frames[start]
        ink = f' class="{CLASS}"' if all(map(is_ink, map(picture, self.pictures(shown)))) else ""
        listed = json.dumps([frame[:2] for frame in frames]).replace("<", r"\u003c")
        return (
            f'<div class="dash-explorer"><div class="dash-controls" hidden>'
            f'{"".join(controls)}</div><img{ink} src="{src}" alt="{escape(alt)}" width="{width}" '
            f'height="{height}"><script type="application/json">{listed}</script></div>'
        )

    def children(self, model: Model) -> list[Model]:
        """The widgets that a box or a stack holds."""
        names = model["state"]["children"]
        return [self.models[name.removeprefix("IPY_MODEL_")] for name in names]

    def pictures(self, model: Model) -> list[Model]:
        """The pictures of nested stacks, in order: the last control moves fastest."""
        if model["model_name"] == "ImageModel":
            return [model]
        return list(chain(*(self.pictures(child) for child in self.children(model))))

    def frame(self, model: Model) -> tuple[str, str, tuple[int, int]]:
        """The address, the text alternative and the size of a picture, once it is written."""
        data = picture(model)
        name = f"{hashlib.sha256(data).hexdigest()[:16]}.{model['state']['format']}"
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(data)
        return f"{self.url}/{name}", model["state"]["tooltip"], Image.open(io.BytesIO(data)).size


def picture(model: Model) -> bytes:
    """Return the file that an image widget shows."""
    (value,) = [b["data"] for b in model["buffers"] if b["path"] == ["value"]]
    return base64.b64decode(value)


def control(name: str, model: Model) -> str:
    """A labelled input for a slider, a list or a group of buttons."""
    state = model["state"]
    label, texts, at = formulas(state["description"]), state["_options_labels"], state["index"]
    if model["model_name"] == "SelectionSliderModel":
        plain, shown = escape(state["tooltip"]), escape(json.dumps(texts))
        return (
            f'<label><span>{label}</span><input type="range" max="{len(texts) - 1}" value="{at}" '
            f'aria-label="{plain}" data-shown="{shown}"><output></output></label>'
        )
    if model["model_name"] == "DropdownModel":
        chosen = ["", " selected"]
        options = [f"<option{chosen[i == at]}>{escape(text)}" for i, text in enumerate(texts)]
        return f"<label><span>{label}</span><select>{''.join(options)}</select></label>"
    chosen = ["", " checked"]
    buttons = [
        f'<label><input type="radio" name="{name}"{chosen[i == at]}>{escape(text)}</label>'
        for i, text in enumerate(texts)
    ]
    return f"<fieldset><legend>{label}</legend>{''.join(buttons)}</fieldset>"


def formulas(label: str) -> str:
    """A label in HTML; what stands between dollar signs is a formula, as elsewhere on a page."""
    parts = [escape(part) for part in label.split("$")]
    parts[1::2] = [rf'<span class="math">\({part}\)</span>' for part in parts[1::2]]
    return "".join(parts)


def plain_explorers(app: Sphinx, page: str, content: list[str]) -> None:
    """Put plain explorers in place of the widgets of a notebook that is read."""
    if app.builder.format != "html" or not app.env.doc2path(page).endswith(".ipynb"):
        return
    notebook = json.loads(content[0])
    stored = notebook["metadata"].pop("widgets", {}).get(STATE, {"state": {}})
    url = "../" * page.count("/") + FOLDER
    made = Explorers(stored["state"], Path(app.outdir) / FOLDER, url)
    for output in chain(*(cell.get("outputs", []) for cell in notebook["cells"])):
        if view := output.get("data", {}).get(VIEW):
            output["data"] = {"text/html": made.html(view["model_id"])}
    content[0] = json.dumps(notebook)


def without_pictures(app: Sphinx, *_: Any) -> list[str]:
    """The notebooks, which are read again, if somebody has deleted their pictures since."""
    if (Path(app.outdir) / FOLDER).is_dir():
        return []
    return [page for page in app.env.found_docs if app.env.doc2path(page).endswith(".ipynb")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Look at every source as it is read, and read again what lost its pictures."""
    app.connect("source-read", plain_explorers)
    app.connect("env-get-outdated", without_pictures)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
