"""Figures of TIRT Transfer: where the weight lies, what lambda learned, what students do.

As in :mod:`dashbook.plots`, numbers are given and nothing here trains, samples or reads files.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from dashbook import plots
from dashbook.importance import smooth
from dashlib.schedule import Schedule
from dashlib.weighting import TIRT, transfer

NEIGHBOURS = 20  # over how many timesteps a curve is averaged


def smoothed(values: Tensor) -> plots.Curve:
    """A curve over all timesteps, ``(T,)``, as means over neighbours."""
    means = smooth(values, NEIGHBOURS)
    return plots.middles(len(means)).tolist(), means.tolist()


def importance_at(t: int, curves: Mapping[str, Tensor]) -> Figure:
    """Importance of all timesteps, ``(T,)`` each, with a marker, and its value, at timestep t."""
    figure, grid = plots.axes(size=(6.4, 3.4))
    ax = grid[0, 0]
    named = {f"{name}: {of[t]:.2f}": (range(len(of)), of.tolist()) for name, of in curves.items()}
    plots.draw_curves(ax, named)
    for values, shade in zip(curves.values(), plots.CYCLE, strict=False):
        ax.plot([t], [values[t]], "o", color=shade)
    ax.axvline(t, color="#999999", lw=1)
    ax.set(xlabel="timestep t", ylabel="weight (mean 1)", title=f"t = {t}", ylim=(0, 3.3))
    ax.legend(loc="upper right", frameon=False)
    return figure


def signs(losses: Mapping[str, Tensor], level: float, lam: Tensor) -> Figure:
    """Losses at every timestep ``(T,)``, above the lambda that the first of them belongs to.

    Dashed: its weighted mean ``level``.  Shaded: the timesteps where the first loss is above that,
    up to the last of them.
    """
    figure, grid = plots.axes(2, 1, size=(6.4, 5.4))
    above, below = grid[:, 0]
    for (name, loss), shade in zip(losses.items(), (plots.CYCLE[0], plots.CYCLE[6]), strict=True):
        above.plot(*smoothed(loss), color=shade, label=name)
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
