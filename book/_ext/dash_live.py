"""Explorers that compute in the reader's browser: a directive, and the script that pages load.

    ```{live} dial
    :picture: /_static/dial.png
    :alt: what the picture shows
    :set: {"first": "teacher_uniform"}
    A caption, for readers without JavaScript.
    ```

A page opened from a disk may not import modules.  So dashbook.live joins them to one classic
script, and weights are scripts that hand over a safetensors file as text.
"""

import base64
import json
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.parsers.rst.directives.images import Figure
from sphinx.application import Sphinx

from dashbook.live import USUAL, in_order, named, state_of
from dashlib import results
from dashlib.results import Run

STUDENTS = ("cond_only", "cond_only_dropout", "composite", "multi_w", "gap_match", "dash")
FILES = {"teacher": "teacher-tirt", "teacher_uniform": "teacher-uniform"}
FILES |= {row: f"{row}-transfer-s0" for row in (*STUDENTS, "scratch")}


def script() -> str:
    """The engine as one classic script, which a page runs and a worker can be made of."""
    body = "\n".join(in_order().values())
    return f'(function live() {{\n"use strict";\n{body}\nstart(`(${{live}})()`);\n}})();\n'


def weights_script(run: Run) -> str:
    """A script that hands over a run's network: its configuration and its weights."""
    stored = next(run.folder.glob("weights-*.safetensors")).read_bytes()
    given = {"config": run.config["unet"], "base64": base64.b64encode(stored).decode()}
    name = json.dumps(run.name.split("/")[1])
    return f"(globalThis.dashWeights ??= {{}})[{name}] = {json.dumps(given)};\n"


def page_state(kind: str, **changed: Any) -> dict[str, Any]:
    """Give what a page hands to an explorer: its state, and of what samples the networks."""
    samples = {"networks": named(FILES)} if kind in ("dial", "trajectory") else {}
    return samples | state_of(kind, **changed)


class live(nodes.General, nodes.Element):  # docutils names a node by its class
    """An explorer; its child is the picture that stands there without JavaScript."""


class Live(Figure):
    """The directive: an explorer, over a figure with the options of ``figure``."""

    required_arguments = 1
    option_spec: ClassVar = {**Figure.option_spec, "picture": directives.uri, "set": json.loads}

    def run(self) -> list[nodes.Node]:
        """Make the explorer."""
        kind = self.arguments[0]
        if kind not in USUAL:
            raise self.error(f"no explorer is called {kind}: there are {', '.join(USUAL)}")
        state = page_state(kind, **self.options.pop("set", {}))
        self.arguments = [self.options.pop("picture")]
        return [live("", *super().run(), kind=kind, state=state)]


def depart(self: Any, node: live) -> None:
    """Close the explorer, and load the script, once a page."""
    self.body.append("</div>\n")
    if node is next(iter(self.document.findall(live))):
        root = "../" * self.builder.current_docname.count("/")
        self.body.append(f'<script defer="" src="{root}live/live.js"></script>\n')


def visit(self: Any, node: live) -> None:
    """Open the explorer."""
    kind, state = node["kind"], json.dumps(node["state"])
    data = {"data-live": kind, "data-state": state}
    self.body.append(self.starttag(node, "div", CLASS="dash-live", ids=[kind], **data))


def write(app: Sphinx, error: Exception | None) -> None:
    """Put the script, and the weights, into the book."""
    if error or app.builder.format != "html":
        return
    folder = Path(app.outdir) / "live"
    (folder / "weights").mkdir(parents=True, exist_ok=True)
    (folder / "live.js").write_text(script())
    for file in FILES.values():
        run = results.load(f"digits/{file}")
        (folder / "weights" / f"{file}.js").write_text(weights_script(run))


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive, and write its files at the end."""
    app.add_node(live, html=(visit, depart))
    app.add_directive("live", Live)
    app.connect("build-finished", write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
