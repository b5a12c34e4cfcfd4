"""The chapter on CIFAR-10: its runs by name, tables of their scores, and its figures."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from dashbook import plots
from dashbook.tables import DASHES, markdown
from dashlib import results
from dashlib.checkpoints import read_tensors
from dashlib.recipes import CIFAR10, ONE_PASS
from dashlib.results import Run

STUDENTS = {  # what differs: objective, what the network predicts, weights of the timesteps
    "dash-uniform": "DASH, eps, uniform",
    "dash-high_noise": "DASH, eps, high noise",
    "dash_v-high_noise": "DASH, v, high noise",
    "dash_sampled_v-high_noise": "One branch an image, v, high noise",
    "cond_only_dropout_v-high_noise": "Label dropout, v, high noise",
}
SHADES = dict(zip(STUDENTS, ("#8A8A8A", "#56B4E9", "#0072B2", "#E69F00", "#009E73"), strict=True))
DEFAULT = "970, eta 0.5"  # the sampler


def runs() -> dict[str, Run]:
    """The stored runs: ``teacher``, then the students by row."""
    found = {"teacher": results.load("cifar10/teacher-uniform")}
    return found | {row: results.load(f"cifar10/{row}-s0") for row in STUDENTS}


def shared() -> dict[str, Any]:
    """The run that came with the images: rows that ours does not repeat.  Not made by this code."""
    return dict(json.loads((results.root() / "cifar10/shared-run.json").read_text()))


def shared_pictures(row: str, label: str) -> Tensor:
    """Twenty pictures of a row of the shared run, ``(20, 3, 32, 32)``, uint8."""
    return read_tensors(results.root() / "cifar10/shared-run.safetensors")[f"{row}|{label}"]


def pictures(run: Run, label: str) -> Tensor:
    """A run's hundred stored pictures, ``(100, 3, 32, 32)``, uint8: labels 0 to 9 in turn."""
    return run.trace[f"{label}|{DEFAULT}"]


def score(run: Run, label: str) -> dict[str, Any] | None:
    """The scores of a run's samples; None where there was no time for them."""
    found = {(entry["guidance"], entry["sampler"]): entry for entry in run.metrics["scores"]}
    return found.get((label, DEFAULT))


def passes(row: str, steps: int) -> int:
    """Forward passes of the student in all its steps, in batches."""
    return steps if CIFAR10.rows[row.partition("-")[0]].objective in ONE_PASS else 2 * steps


def judged(of: Mapping[str, float] | None, digits: int = 1) -> str:
    """FD / accuracy of some scores, or a dash."""
    return f"{of['fd']:.{digits}f} / {of['accuracy']:.2f}" if of else DASHES


def _colours(spreads: Mapping[str, float]) -> str:
    return f"{spreads['red_green']:.2f} / {spreads['blue_yellow']:.2f}"


def scores_table(found: Mapping[str, Run], labels: Sequence[str]) -> str:
    """FD and accuracy, the spread of colours, and what was spent; a line a run."""
    lines = []
    for row, run in found.items():
        of = [score(run, label) for label in labels]
        steps = sum(stage["steps"] for stage in run.metrics["stages"])
        spent = "" if row == "teacher" else f"{passes(row, steps):,}"
        assert of[0] is not None
        cells = [*map(judged, of), _colours(of[0]["spreads"])]
        lines.append([STUDENTS.get(row, "*teacher*"), spent, *cells])
    of_data = found["teacher"].metrics
    rest = [judged(of_data["floor"][0]), *[""] * (len(labels) - 1)]
    lines.append(["*held-out images*", "", *rest, _colours(of_data["data_spreads"])])
    heads = [f"FD / accuracy, {'TAG' if w == 'TAG' else f'w = {w}'}" for w in labels]
    return markdown(["", "student's passes", *heads, "spread of colours"], lines)


def side_by_side(rows: Mapping[str, Tensor], title: str = "") -> Figure:
    """Rows of ten pictures, one of each class, from the same starting noise."""
    size = (7.2, 0.68 * len(rows) + 0.4)
    figure = plots.image_rows({name: images[:10] for name, images in rows.items()}, size=size)
    figure.axes[0].set_title(title)
    return figure


def errors(found: Mapping[str, Run]) -> Figure:
    """Errors in the predicted image against the timestep: of the gap, the branch, its mean colour.

    Root mean squares of pixels in [-1, 1], over pairs up to t = 970, where sampling starts.
    """
    figure, grid = plots.axes(1, 3, size=(8.6, 4.6))
    panels = {"gap": ("gap", "image"), "a branch": ("cond", "image")}
    panels |= {"its mean colour": ("cond", "dc")}
    for ax, (title, (part, key)) in zip(grid[0], panels.items(), strict=True):
        for row, name in STUDENTS.items():
            of = {int(t): v[part][key] for t, v in found[row].metrics["image_errors"].items()}
            x = sorted(of)
            ax.plot([t + 25 for t in x], [of[t] for t in x], color=SHADES[row], label=name)
        ax.set(yscale="log", title=title, xlabel="timestep t", ylim=(0.001, 1))
        ax.set(xticks=(0, 500, 1000), xlim=(0, 1000))
    plots.legend_below(figure, 2, fontsize=10)
    return figure
