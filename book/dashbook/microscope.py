"""TIRT under the microscope: figures of learned weightings, and another start of the null row."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dashbook import plots
from dashbook.comparison import Interval
from dashlib.guidance import Branches
from dashlib.metrics import NoisyPairs, Summary, pair_stats, predict, summarise
from dashlib.results import Run
from dashlib.unet import UNet, UNetConfig

JUDGED = {1: plots.CYCLE[1], -1: plots.CYCLE[0], 0: plots.CYCLE[6]}  # worse, better, undecided
Learned = tuple[Tensor, Tensor]  # importance at the start (T,), and at all snapshots (S, T)


def replay(snapshot: int, who: str, paths: Mapping[tuple[str, str], Learned]) -> Figure:
    """What ``who`` had learned at a snapshot: over the start, and the importance itself.

    ``paths[who, name]`` are those of the weighting ``name``.
    """
    figure, grid = plots.axes(1, 2, size=(7.2, 3.3))
    ratio, whole = grid[0]
    for (learner, name), (start, snapshots) in paths.items():
        if learner == who:
            ratio.plot(snapshots[snapshot] / start, label=name)
            whole.plot(snapshots[snapshot])
    ratio.set(ylim=(0.3, 2.0), xlabel="timestep t", title="importance / at the start")
    whole.set(ylim=(0, 3.0), xlabel="timestep t", title="importance (mean 1)")
    ratio.legend(loc="lower right")
    return figure


def effective_weights(effective: Mapping[int, Tensor], limit: Tensor, title: str) -> Figure:
    """Weight of every timestep, ``(T,)``, by batch size; dashed: the limit of large batches."""
    curves = {f"B = {size}": (range(len(of)), of.tolist()) for size, of in effective.items()}
    figure = plots.lines(curves, xlabel="timestep t", ylabel="effective weight", title=title)
    figure.axes[0].plot(limit, "--", color="black", lw=1, label="all timesteps")
    figure.axes[0].legend()
    return figure


def drifts(
    measured: Mapping[str, np.ndarray],
    predicted: Mapping[str, np.ndarray],
    match: Mapping[str, float],
) -> Figure:
    """A panel a name: a drift in equal ranges of timesteps, measured and predicted.

    The titles tell the correlation, ``match``.
    """
    curves = {}
    for name, drift in measured.items():
        both = {"measured": drift, "predicted": predicted[name]}
        x, title = plots.middles(len(drift)), f"{name}: r = {match[name]:.2f}"
        curves[title] = {what: (x, values) for what, values in both.items()}
    return plots.panels(curves, xlabel="timestep t", size=(7.6, 3.4))


def landmarks(drift: np.ndarray, T: int = 1000) -> tuple[str, str, str]:
    """A drift in words: its first value, from which t it is positive, its range for 400 to 900."""
    width = T // len(drift)
    middle = drift[400 // width : 900 // width]
    positive = (drift > 0).argmax() * width
    return f"{drift[0]:.2f}", f"{positive}", f"{middle.min():.2f} – {middle.max():.2f}"


def forest(
    found: Mapping[str, Interval], differences: Mapping[str, Sequence[float]], measure: str
) -> Figure:
    """Intervals of the rows' excess over uniform weights, the first on top; dots: the seeds.

    The colours are those of ``JUDGED``, by the sign of the interval.
    """
    figure, grid = plots.axes(size=(7.0, 3.5))
    ax, names = grid[0, 0], list(found)[::-1]
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
    """Titled panels: measures by the weight of the anchor, a dot a seed, a line through the first.

    ``panels[title][name][weight]`` holds the values of the seeds.
    """
    figure, grid = plots.axes(1, len(panels), size=(7.6, 3.4))
    shades = iter(plots.CYCLE)
    for ax, (title, named) in zip(grid[0], panels.items(), strict=True):
        for name, by_weight in named.items():
            shade = next(shades)
            ax.plot([seeds[0] for seeds in by_weight.values()], color=shade, label=name)
            for x, seeds in enumerate(by_weight.values()):
                ax.plot([x] * len(seeds), seeds, "o", ms=5, color=shade)
        ax.set_xticks(range(len(by_weight)), [f"{weight:g}" for weight in by_weight])
        ax.set(xlabel="weight of the anchor", ylim=(0, None), title=title)
        ax.legend()
    return figure


def restarted(run: Run, start: str) -> UNet:
    """The trained network as if its null row, which nobody trained, had started otherwise.

    Such a row gets no gradient: it only decays, and no other weight depends on it.  So another
    start, ``zero`` or ``mean_of_classes`` (else ``ValueError``), needs no training: the row that
    would have been there is put in.  The weight decay over the run, averaged, is read off the row.
    """
    if start not in ("zero", "mean_of_classes"):
        raise ValueError(f"start {start!r}: 'zero' or 'mean_of_classes'")
    with torch.random.fork_rng(devices=[]):
        model = run.model()
        torch.manual_seed(run.seed)
        first = UNet(UNetConfig(**run.config["unet"])).class_embed.weight.detach()
    row = model.class_embed.weight[-1]
    decay = (row / first[-1]).median()
    row.copy_(decay * first[:-1].mean(0) if start == "mean_of_classes" else torch.zeros_like(row))
    return model


def gap_after(run: Run, start: str, noisy: NoisyPairs, teacher: Branches) -> Summary:
    """Gap metrics of :func:`restarted`, against the teacher's answers to the same pairs."""
    return summarise(pair_stats(predict(restarted(run, start), noisy), teacher))
