"""Explorers that compute in the reader's browser: a directive, and the script that pages load.

    ```{live} dial
    :picture: /_static/dial.png
    :alt: what the picture shows
    :set: {"first": "teacher_uniform"}
    A caption, for readers without JavaScript.
    ```

A page opened from a disk may not import modules.  So the modules of book/live become one classic
script, and the weights scripts that hand over a safetensors file as text.
"""

import base64
import json
import re
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.parsers.rst.directives.images import Figure
from sphinx.application import Sphinx

from dashbook.paper import COLORS, NAMES
from dashlib import results
from dashlib.results import Run

ROOT = next(p for p in Path(__file__).resolve().parents if (p / "pyproject.toml").exists())
LIVE = ROOT / "book/live"
STUDENTS = ("cond_only", "cond_only_dropout", "composite", "multi_w", "gap_match", "dash")
STUDENTS += ("scratch",)
TRAINED = (
    *(row for row in STUDENTS if row != "multi_w"),
    "dash_sampled",
)  # by the importance editor
FILES = {"teacher": "teacher-tirt", "teacher_uniform": "teacher-uniform"}
FILES |= {row: f"{row}-transfer-s0" for row in STUDENTS}
IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";\n', re.MULTILINE)


def in_order(entry: str = "mount") -> dict[str, str]:
    """The texts of the modules that one needs, itself last, without imports and exports."""
    texts: dict[str, str] = {}

    def visit(name: str) -> None:
        text = (LIVE / f"{name}.js").read_text()
        for found in IMPORT.finditer(text):
            if found[2] not in texts:
                visit(found[2])
        texts[name] = re.sub(r"^export ", "", IMPORT.sub("", text), flags=re.MULTILINE)

    visit(entry)
    return texts


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


def networks() -> dict[str, dict[str, str]]:
    """Describe every network that an explorer can run."""
    names = NAMES | {"teacher_uniform": "Teacher, uniform weights"}
    colors = COLORS | {"teacher_uniform": "#8A8A8A"}
    return {
        key: {"name": names[key], "color": colors[key], "file": file} for key, file in FILES.items()
    }


def learned() -> dict[str, list[float]]:
    """Read what two stored runs learned about every timestep: TIRT's lambda, and EDM2's u."""
    traces = {"lambda": "teacher-tirt", "u": "dash-uncertainty-s0"}
    last = {name: results.load(f"digits/{run}").trace[name][-1] for name, run in traces.items()}
    return {name: [round(value, 3) for value in of.tolist()] for name, of in last.items()}


STATES = {
    "dial": lambda: {"networks": networks()},
    "importance": lambda: {
        "learned": learned(),
        "objectives": {row: NAMES[row] for row in TRAINED},
    },
}


class live(nodes.General, nodes.Element):  # docutils names a node by its class
    """An explorer; its child is the picture that stands there without JavaScript."""


class Live(Figure):
    """The directive: an explorer, over a figure with the options of ``figure``."""

    required_arguments = 1
    option_spec: ClassVar = {**Figure.option_spec, "picture": directives.uri, "set": json.loads}

    def run(self) -> list[nodes.Node]:
        """Make the explorer."""
        kind = self.arguments[0]
        if kind not in STATES:
            raise self.error(f"no explorer is called {kind}: there are {', '.join(STATES)}")
        state = STATES[kind]() | self.options.pop("set", {})
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
