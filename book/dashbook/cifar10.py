"""The chapter on CIFAR-10: its runs by name, tables of their scores, and its figures."""

import json
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from dashbook import plots, tables
from dashlib import results
from dashlib.checkpoints import read_tensors
from dashlib.results import Run

STUDENTS = {  # what differs: objective, what the network predicts, weights of the timesteps
    "dash-uniform": "DASH, ε, uniform",
    "multi_w-high_noise": "Multi-w, ε, high noise",
    "gap_match_cond-high_noise": "Gap match + cond-only, ε, high noise",
    "dash-high_noise": "DASH, ε, high noise",
    "dash_sampled-high_noise": "One branch an image, ε, high noise",
    "cond_only_dropout-high_noise": "Label dropout, ε, high noise",
    "dash_v-min_snr": "DASH, v, min-SNR",
    "dash_v-transfer": "DASH, v, TIRT Transfer",
    "dash_v-uniform": "DASH, v, uniform",
    "dash_v-high_noise": "DASH, v, high noise",
    "dash_sampled_v-high_noise": "One branch an image, v, high noise",
    "cond_only_dropout_v-high_noise": "Label dropout, v, high noise",
    "cond_only_dropout_v-high_noise-x2": "Label dropout, v, high noise, trained twice",
}
PAIRED = 1  # the training seed of which every row but the first is stored
DEFAULT = "970, eta 0.5"  # the sampler
SETTINGS = {  # guidance and sampler
    "w = 1.5": ("1.5", DEFAULT),
    "TAG": ("TAG", DEFAULT),
    "w = 4": ("4", DEFAULT),
    "w = 1.5, η = 1": ("1.5", "970, eta 1"),
}


def runs() -> dict[str, Run]:
    """The stored runs by row: ``teacher``, then students of the seed that most rows have."""
    found = {row: seeds(row) for row in ("teacher", *STUDENTS)}
    return {row: max(of, key=lambda run: run.seed == PAIRED) for row, of in found.items()}


def seeds(row: str) -> list[Run]:
    """All stored seeds of a row, in order; of the teacher its only one."""
    if row == "teacher":
        return [results.load("cifar10/teacher-uniform")]
    objective, weighting = row.split("-", 1)
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


def fd(run: Run, label: str = "1.5", sampler: str = DEFAULT) -> float:
    """The Frechet distance of 2,000 samples; nan where there was no time for them."""
    return float((score(run, label, sampler) or {"fd": np.nan})["fd"])


def off_colour(run: Run, label: str = "1.5", sampler: str = DEFAULT) -> float:
    """By how much the spread of a mean colour is off the data's: the largest of the three."""
    data, found = seeds("teacher")[0].metrics["data_spreads"], score(run, label, sampler)
    return max(abs(found["spreads"][key] / data[key] - 1) for key in data) if found else np.nan


def _cell(runs: Sequence[Run], key: str, setting: tuple[str, str], digits: int = 2) -> str:
    of = [found | found["spreads"] for run in runs if (found := score(run, *setting))]
    return tables.spread(of, itemgetter(key), digits)


def scores_table(rows: Mapping[str, Sequence[Run]], settings: Sequence[str]) -> str:
    """FD (± over seeds) and accuracy, the spread of mean colours; a line for the runs of a row."""
    lines, data = [], seeds("teacher")[0].metrics
    for row, of in rows.items():
        at = [SETTINGS[name] for name in settings]
        cells = [f"{_cell(of, 'fd', w, 1)} / {_cell(of, 'accuracy', w)[:4]}" for w in at]
        colours = " / ".join(_cell(of, key, at[0])[:4] for key in data["data_spreads"])
        lines.append([STUDENTS.get(row, "*teacher*"), str(len(of)), *cells, colours])
    held = "{fd:.1f} / {accuracy:.2f}".format_map(data["floor"][0])
    colours = " / ".join(f"{spread:.2f}" for spread in data["data_spreads"].values())
    lines.append(["*held-out images*", "", held, *[""] * (len(settings) - 1), colours])
    return tables.markdown(["FD / accuracy", "seeds", *settings, "spread of colours"], lines)


def side_by_side(rows: Mapping[str, Tensor], title: str = "") -> Figure:
    """Rows of ten pictures, one of each class, from the same starting noise."""
    size = (6.6, 0.62 * len(rows) + 0.4)
    figure = plots.image_rows({name: images[:10] for name, images in rows.items()}, size=size)
    figure.axes[0].set_title(title)
    return figure


def errors(run: Run) -> dict[str, np.ndarray]:
    """Root-mean-square errors by range of timesteps, of eps and, where sampling goes, of the image.

    The *common* error is that of the mean of both branches, from theirs and that of the gap.
    """
    of = run.metrics["image_errors"].values()
    gap, mean = (tables.per_timestep([run], key)[0] ** 0.5 for key in ("gap_mse", "common_mse"))
    found = {"gap error": gap, "common error": mean}
    for band, name in (("image", "common error in the image"), ("dc", "its mean colour")):
        c, u, g = (np.array([p[k][band] for p in of]) for k in ("cond", "uncond", "gap"))
        found[name] = ((c**2 + u**2) / 2 - g**2 / 4) ** 0.5
    return found


def by_setting(rows: Mapping[str, Run]) -> Figure:
    """Frechet distances by row, the largest below; a mark a guidance and sampler."""
    order = sorted(rows, key=lambda row: fd(rows[row]), reverse=True)
    title = "The order of the rows hardly depends on the setting"
    figure, ((ax,),) = plots.axes(size=(7.4, 5.6), title=title)
    for (name, setting), mark in zip(SETTINGS.items(), "osD^", strict=True):
        ax.plot([fd(rows[row], *setting) for row in order], range(len(order)), mark, label=name)
    ax.set(xscale="log", xlabel="Fréchet distance, lower is better")
    ax.set_xticks([20, 30, 40, 50, 70, 100], ["20", "30", "40", "50", "70", "100"])
    ax.minorticks_off()
    ax.set_yticks(range(len(order)), [STUDENTS.get(row, "Teacher") for row in order], fontsize=10)
    plots.legend_below(figure, len(SETTINGS), fontsize=10)
    return figure
