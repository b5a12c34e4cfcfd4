"""The chapter on CIFAR-10: its runs by name, tables of their scores, and its figures."""

import json
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from dashbook import plots, tables
from dashlib import results
from dashlib.checkpoints import read_tensors
from dashlib.recipes import ONE_PASS
from dashlib.results import Run

STUDENTS = {  # what differs: objective, what the network predicts, weights of the timesteps
    "dash-uniform": "DASH, eps, uniform",
    "dash-high_noise": "DASH, eps, high noise",
    "dash_v-transfer": "DASH, v, TIRT Transfer",
    "dash_v-high_noise": "DASH, v, high noise",
    "dash_sampled_v-high_noise": "One branch an image, v, high noise",
    "cond_only_dropout_v-high_noise": "Label dropout, v, high noise",
}
SHADES = dict(zip(STUDENTS, plots.CYCLE, strict=False))
DEFAULT = "970, eta 0.5"  # the sampler


def runs() -> dict[str, Run]:
    """The stored runs: ``teacher``, then the first seed of the students by row."""
    return {row: seeds(row)[0] for row in ("teacher", *STUDENTS)}


def seeds(row: str) -> list[Run]:
    """All stored seeds of a row, in order; of the teacher its only one."""
    if row == "teacher":
        return [results.load("cifar10/teacher-uniform")]
    objective, weighting = row.split("-")
    return results.select(objective, weighting, "cifar10")


def shared() -> dict[str, Any]:
    """The run that came with the images: rows that ours does not repeat.  Not made by this code."""
    return dict(json.loads((results.root() / "cifar10/shared-run.json").read_text()))


def shared_pictures(row: str, label: str) -> Tensor:
    """Twenty pictures of a row of the shared run, ``(20, 3, 32, 32)``, uint8."""
    return read_tensors(results.root() / "cifar10/shared-run.safetensors")[f"{row}|{label}"]


def pictures(run: Run, label: str) -> Tensor:
    """A run's hundred stored pictures, ``(100, 3, 32, 32)``, uint8: labels 0 to 9 in turn."""
    return run.trace[f"{label}|{DEFAULT}"]


def score(run: Run, label: str, sampler: str = DEFAULT, n: int = 2000) -> dict[str, Any] | None:
    """The scores of n samples of a run; None where there was no time for them."""
    found = {(of["guidance"], of["sampler"], of["n"]): of for of in run.metrics["scores"]}
    return found.get((label, sampler, n))


def passes(run: Run) -> int:
    """Forward passes of the student in all its steps, in batches."""
    steps = sum(stage["steps"] for stage in run.metrics["stages"])
    return steps if run.config["objective"] in ONE_PASS else 2 * steps


def _cell(runs: Sequence[Run], key: str, label: str, digits: int = 2) -> str:
    of = [found | found["spreads"] for run in runs if (found := score(run, label))]
    return tables.spread(of, itemgetter(key), digits)


def scores_table(rows: Sequence[str], labels: Sequence[str]) -> str:
    """Passes, FD (± over seeds) and accuracy, the spread of colours; a line a row of runs."""
    lines, data = [], seeds("teacher")[0].metrics
    for row, runs in zip(rows, map(seeds, rows), strict=True):
        spent = "" if row == "teacher" else f"{min(map(passes, runs)):,}"
        cells = [f"{_cell(runs, 'fd', w, 1)} / {_cell(runs, 'accuracy', w)[:4]}" for w in labels]
        colours = " / ".join(_cell(runs, key, labels[0])[:4] for key in data["data_spreads"])
        lines.append([STUDENTS.get(row, "*teacher*"), str(len(runs)), spent, *cells, colours])
    held = "{fd:.1f} / {accuracy:.2f}".format_map(data["floor"][0])
    colours = " / ".join(f"{spread:.2f}" for spread in data["data_spreads"].values())
    lines.append(["*held-out images*", "", "", held, *[""] * (len(labels) - 1), colours])
    heads = [f"FD / accuracy, {'TAG' if w == 'TAG' else f'w = {w}'}" for w in labels]
    return tables.markdown(["", "seeds", "passes, at least", *heads, "spread of colours"], lines)


def side_by_side(rows: Mapping[str, Tensor], title: str = "") -> Figure:
    """Rows of ten pictures, one of each class, from the same starting noise."""
    size = (7.2, 0.68 * len(rows) + 0.4)
    figure = plots.image_rows({name: images[:10] for name, images in rows.items()}, size=size)
    figure.axes[0].set_title(title)
    return figure


def errors(found: Mapping[str, Run]) -> Figure:
    """Root-mean-square errors in the predicted image against t up to 970, where sampling starts."""
    parts = ("gap", "gap", "image"), ("a branch", "cond", "image"), ("mean colour", "cond", "dc")
    of = {name: found[row].metrics["image_errors"].values() for row, name in STUDENTS.items()}
    means = {
        title: {name: [v[part][key] for v in values] for name, values in of.items()}
        for title, part, key in parts
    }
    figure = plots.panels(means, 50, "timestep t", log=True, size=(8.6, 4.6))
    figure.axes[0].legend().remove()
    plots.legend_below(figure, 2, fontsize=10)
    return figure
