"""TIRT under the microscope: figures of learned weightings, and another start of the null row."""

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dashbook import plots
from dashbook.comparison import Interval
from dashlib.guidance import Branches
from dashlib.metrics import NoisyPairs, Summary, pair_stats, predict, summarise
from dashlib.results import Run
from dashlib.unet import NullInit, UNet, UNetConfig, reset_null_row

JUDGED = {1: plots.CYCLE[1], -1: plots.CYCLE[0], 0: plots.CYCLE[6]}  # worse, better, undecided


def effective_weights(effective: Mapping[int, Tensor], limit: Tensor, title: str) -> Figure:
    """Weight of every timestep, ``(T,)``, by batch size; dashed: the limit of large batches."""
    curves = {f"B = {size}": (range(len(of)), of.tolist()) for size, of in effective.items()}
    figure = plots.lines(curves, xlabel="timestep t", ylabel="effective weight", title=title)
    figure.axes[0].plot(limit, "--", color="black", lw=1, label="all timesteps")
    figure.axes[0].legend()
    return figure


def drifts(
    measured: Mapping[str, np.ndarray], predicted: Mapping[str, np.ndarray],
    match: Mapping[str, float],
) -> Figure:  # fmt: skip
    """A panel a name: drifts in ranges of timesteps and their correlation, ``match``."""
    titles = {name: f"{name}: r = {match[name]:.2f}" for name in measured}
    both = {"measured": measured, "predicted": predicted}
    curves = {title: {k: of[name] for k, of in both.items()} for name, title in titles.items()}
    width = 1000 // min(map(len, measured.values()))
    return plots.panels(curves, width, "timestep t", size=(7.6, 3.4))


def landmarks(drift: np.ndarray) -> tuple[str, str, str]:
    """A drift in words: its first value, from which t it is positive, its range for 400 to 900."""
    width = 1000 // len(drift)
    middle = drift[400 // width : 900 // width]
    positive = (drift > 0).argmax() * width
    return f"{drift[0]:.2f}", f"{positive}", f"{middle.min():.2f} – {middle.max():.2f}"


def forest(
    found: Mapping[str, Interval], differences: Mapping[str, Sequence[float]], measure: str
) -> Figure:
    """Excess over uniform weights: intervals coloured by their sign; dots for the seeds."""
    figure, ((ax,),) = plots.axes(size=(7.0, 3.5))
    names = list(found)[::-1]
    for y, name in enumerate(names):
        interval, seeds = found[name], differences[name]
        shade = JUDGED[interval.sign]
        ax.plot([interval.low, interval.high], [y, y], color=shade)
        ax.plot(seeds, [y] * len(seeds), "o", ms=4, color=shade)
    ax.axvline(0, color="black", lw=1)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel=f"{measure}, minus uniform's (left: better)", ylim=(-0.6, len(names) - 0.4))
    return figure


def anchors(panels: Mapping[str, Mapping[str, Mapping[float, Sequence[float]]]]) -> Figure:
    """``panels[title][name][weight of the anchor]``: a dot a seed."""
    figure, grid = plots.axes(1, len(panels), size=(7.6, 3.4))
    shades = iter(plots.CYCLE)
    for ax, (title, named) in zip(grid[0], panels.items(), strict=True):
        for name, by_weight in named.items():
            at = [x for x, seeds in enumerate(by_weight.values()) for _ in seeds]
            ax.plot(at, [*chain(*by_weight.values())], "o", color=next(shades), label=name)
        ax.set_xticks(range(len(by_weight)), [f"{weight:g}" for weight in by_weight])
        ax.set(xlabel="weight of the anchor", ylim=(0, None), title=title)
        ax.legend()
    return figure


def restarted(run: Run, start: NullInit) -> UNet:
    """The trained network as if its null row, which nobody trained, had started otherwise.

    Such a row gets no gradient, only decay, which is read off it, and no other weight depends on
    it: the row of another start (:func:`dashlib.unet.reset_null_row`) is put in, untrained.
    """
    with torch.random.fork_rng(devices=[]):
        model = run.model()
        torch.manual_seed(run.seed)
        first = UNet(UNetConfig(**run.config["unet"])).requires_grad_(False)
    row, began = (of.class_embed.weight[-1] for of in (model, first))
    decay = (row / began).median()
    reset_null_row(first, start)  # began with it
    row.copy_(decay * began)
    return model


def gap_after(run: Run, start: NullInit, noisy: NoisyPairs, teacher: Branches) -> Summary:
    """Gap metrics of :func:`restarted`, against the teacher's answers to the same pairs."""
    return summarise(pair_stats(predict(restarted(run, start), noisy), teacher))
