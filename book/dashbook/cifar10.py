"""The chapter on CIFAR-10: its runs by name, tables of their scores, and its figures."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from dashbook import plots
from dashbook.tables import markdown
from dashlib import results
from dashlib.checkpoints import read_tensors
from dashlib.recipes import CIFAR10_ROWS
from dashlib.results import Run
from dashlib.runs.cifar10.plan import ONE_PASS

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


def pictures(run: Run, label: str, sampler: str = DEFAULT) -> Tensor:
    """A run's hundred stored pictures, ``(100, 3, 32, 32)``, uint8: labels 0 to 9 in turn."""
    return run.trace[f"{label}|{sampler}"]


def score(run: Run, label: str, sampler: str = DEFAULT) -> dict[str, Any] | None:
    """The scores of a run's samples; None where there was no time for them."""
    for entry in run.metrics["scores"]:
        if (entry["guidance"], entry["sampler"]) == (label, sampler):
            return dict(entry)
    return None


def passes(row: str, steps: int) -> int:
    """Forward passes of the student in all its steps, in batches."""
    return steps if CIFAR10_ROWS[row.partition("-")[0]].objective in ONE_PASS else 2 * steps


def _cell(run: Run, label: str) -> str:
    found = score(run, label)
    return f"{found['fd']:.1f} / {found['accuracy']:.2f}" if found else "–"


def scores_table(found: Mapping[str, Run], labels: Sequence[str]) -> str:
    """FD and accuracy, the spread of colours, and what was spent; a line a run."""
    lines = []
    for row, run in found.items():
        steps = sum(stage["steps"] for stage in run.metrics["stages"])
        spent = "" if row == "teacher" else f"{passes(row, steps):,}"
        of = score(run, labels[0])
        assert of is not None
        colours = [f"{of['spreads'][key]:.2f}" for key in ("red_green", "blue_yellow")]
        name = STUDENTS.get(row, "*teacher*")
        cells = (_cell(run, label) for label in labels)
        lines.append([name, spent, *cells, " / ".join(colours)])
    data = found["teacher"].metrics["data_spreads"]
    colours = [f"{data[key]:.2f}" for key in ("red_green", "blue_yellow")]
    floor = found["teacher"].metrics["floor"][0]
    cell = f"{floor['fd']:.1f} / {floor['accuracy']:.2f}"
    lines.append(["*held-out images*", "", cell, *[""] * (len(labels) - 1), " / ".join(colours)])
    heads = [f"FD / accuracy, {'TAG' if w == 'TAG' else f'w = {w}'}" for w in labels]
    return markdown(["", "student's passes", *heads, "spread of colours"], lines)


def gap_table(found: Mapping[str, Run]) -> str:
    """Gap metrics overall; a line a student."""
    keys = ("rho", "cos", "gap_mse", "cond_mse", "uncond_mse")
    lines = []
    for row, run in found.items():
        if row != "teacher":
            of = run.metrics["gap"]["overall"]
            digits = (f"{of[k]:.2f}" if k in ("rho", "cos") else f"{of[k]:.5f}" for k in keys)
            lines.append([STUDENTS[row], *digits])
    return markdown(["", "ρ", "cos", "gap MSE", "$e_c^2$", "$e_u^2$"], lines)


def shared_table(of: Mapping[str, Any]) -> str:
    """The shared run's rows: FD / accuracy at three scales, and the gap."""
    lines = []
    for row, entry in of["models"].items():
        if row == "teacher" or row not in plots.NAMES:
            continue
        cells = [f"{entry['w'][w]['fd']:.0f} / {entry['w'][w]['accuracy']:.2f}" for w in _AT]
        gap = entry["gap"]["overall"]
        lines.append([plots.NAMES[row], *cells, f"{gap['rho']:.2f}", f"{gap['cos']:.2f}"])
    return markdown(["", "w = 1.5", "TAG", "w = 4", "ρ", "cos"], lines)


_AT = ("1.5", "TAG", "4")


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
        for row, run in found.items():
            if row != "teacher":
                of = {int(t): v[part][key] for t, v in run.metrics["image_errors"].items()}
                x = np.array(sorted(of)) + 25
                ax.plot(x, [of[t] for t in sorted(of)], color=SHADES[row], label=STUDENTS[row])
        ax.set(yscale="log", title=title, xlabel="timestep t", ylim=(0.001, 1))
        ax.set(xticks=(0, 500, 1000), xlim=(0, 1000))
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=10, frameon=False)
    return figure


def by_timestep(found: Mapping[str, Run], key: str, title: str) -> Figure:
    """A gap metric in ranges of timesteps; a line a student."""
    curves, colors = {}, {}
    for row in filter(STUDENTS.get, found):
        of = found[row].metrics["gap"]["per_timestep"]
        starts = sorted(map(int, of))
        curves[STUDENTS[row]] = ([s + 25 for s in starts], [of[str(s)][key] for s in starts])
        colors[STUDENTS[row]] = SHADES[row]
    return plots.lines(
        curves, xlabel="timestep t", ylabel="", title=title, colors=colors, size=(7.0, 4.0)
    )


def speed() -> dict[str, float]:
    """Median seconds of steps and forward passes of these networks on one H100."""
    stored = json.loads((results.root() / "bench/captured-cifar10-h100.json").read_text())
    return {name: entry["median"] for name, entry in stored["seconds"].items()}
