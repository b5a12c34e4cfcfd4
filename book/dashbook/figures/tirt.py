"""Figures of TIRT Transfer: where the weight lies, what lambda learned, what students do."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from dashbook import plots
from dashbook.importance import smooth
from dashlib.schedule import Schedule
from dashlib.weighting import TIRT, transfer

NEIGHBOURS = 20  # over how many timesteps a curve is averaged
Line = tuple[Sequence[float], Sequence[float]]


def _smoothed(values: Tensor) -> Line:
    means = smooth(values, NEIGHBOURS)
    return (NEIGHBOURS * np.arange(len(means)) + NEIGHBOURS / 2).tolist(), means.tolist()


def mass(weights: Mapping[str, Tensor]) -> Figure:
    """The share of all weight, ``(T,)`` each, that lies on timesteps up to t."""
    curves: dict[str, Line] = {
        name: (range(len(omega)), (omega.cumsum(0) / omega.sum()).tolist())
        for name, omega in weights.items()
    }
    return plots.lines(curves, xlabel="timestep t", ylabel="share of weight up to t")


def signs(losses: Mapping[str, Tensor], level: float, lam: Tensor) -> Figure:
    """Losses at every timestep ``(T,)``, above the lambda that the first of them belongs to.

    Dashed: its weighted mean ``level``.  Shaded: the timesteps where the first loss is above that,
    up to the last of them.
    """
    figure, grid = plots.axes(2, 1, size=(6.4, 5.4))
    above, below = grid[:, 0]
    for (name, loss), shade in zip(losses.items(), (plots.CYCLE[0], plots.CYCLE[6]), strict=True):
        above.plot(*_smoothed(loss), color=shade, label=name)
    first, loss = next(iter(losses.items()))
    above.axhline(level, color="black", ls="--", lw=1, label=f"L, {first}")
    above.set(ylabel="loss on ε", yscale="log")
    below.plot(lam, color=plots.CYCLE[0])
    below.set(xlabel="timestep t", ylabel="learned λ")
    hard = np.flatnonzero(smooth(loss, NEIGHBOURS) > level)
    for ax in (above, below):
        ax.axvspan(0, (hard.max() + 1) * NEIGHBOURS, color="#eeeeee", zorder=0)
    above.legend()
    return figure


def after(lam: Tensor, done: float) -> Figure:
    """Lambda ``(T,)`` and its importance after a part ``done`` of training; grey: the start."""
    schedule = Schedule()
    start, now = TIRT(schedule).freeze(), transfer(lam, schedule)
    figure, grid = plots.axes(1, 2, size=(7.2, 3.2))
    left, right = grid[0]
    for of, shade in ((start, "#b5b5b5"), (now, plots.CYCLE[0])):
        left.plot(of.lam, color=shade, lw=1.5)
        right.plot(of.importance(), color=shade, lw=1.5)
    left.set(ylim=(-0.7, 1.4), xlabel="timestep t", title=f"λ after {done:.0%} of training")
    right.set(ylim=(0, 3.0), xlabel="timestep t", title="importance (mean 1)")
    return figure


def drifts(measured: Tensor, predicted: Tensor, match: float, size: float) -> Figure:
    """Two drifts of lambda, ``(T,)``; above them their correlation and the ratio of their sizes."""
    curves = {"measured": _smoothed(measured), "predicted": _smoothed(predicted)}
    title = f"correlation {match:.2f}; measured = {size:.2f} × predicted"
    return plots.lines(curves, xlabel="timestep t", ylabel="drift of λ", title=title)


def lambdas(learned: Mapping[str, Tensor]) -> Figure:
    """Several lambdas, ``(T,)`` each, as means over neighbours."""
    curves = {name: _smoothed(lam) for name, lam in learned.items()}
    return plots.lines(curves, xlabel="timestep t", ylabel="λ")


def sweep(distances: Mapping[str, np.ndarray], scales: Sequence[str]) -> Figure:
    """Frechet distances ``(seeds, scales)`` of every weighting: their mean, and range shaded."""
    figure, grid = plots.axes()
    ax = grid[0, 0]
    for (name, seeds), shade in zip(distances.items(), plots.CYCLE, strict=False):
        ax.plot(scales, seeds.mean(0), "o-", color=shade, label=f"{name} ({len(seeds)})")
        ax.fill_between(scales, seeds.min(0), seeds.max(0), color=shade, alpha=0.2, lw=0)
    ax.set(xlabel="guidance scale w", ylabel="Fréchet distance", ylim=(0, None))
    ax.legend()
    return figure


def ratios(of_seeds: np.ndarray, title: str, T: int = 1000) -> Figure:
    """Ratios of errors ``(seeds, ranges)`` in equal ranges of the T timesteps, a line a seed."""
    width = T / of_seeds.shape[1]
    middle = (width * (np.arange(of_seeds.shape[1]) + 0.5)).tolist()
    curves = {f"seed {i}": (middle, seed.tolist()) for i, seed in enumerate(of_seeds)}
    figure = plots.lines(
        curves, xlabel="timestep t", ylabel="ratio of errors", title=title, log=True
    )
    ax = figure.axes[0]
    ax.axhline(1, color="black", lw=1)
    ax.set_ylim(0.35, 12)
    return figure
