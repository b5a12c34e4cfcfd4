"""Figures of the clothes chapter: the teacher, one noise, diagnostics, scales, two weightings."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from dashbook import plots

PER_POINT = 100  # training steps that a point of a loss curve averages
SCALE_TICKS = (80, 100, 150, 200, 300)
BRANCHES = {"cond_mse": "conditional", "uncond_mse": "unconditional", "gap_mse": "gap"}
WEIGHTINGS = ("TIRT Transfer", "uniform weights")


def teacher(
    losses: Mapping[str, Sequence[float]], start: Tensor, learned: Mapping[str, Tensor]
) -> Figure:
    """Loss curves of a training beside the importance that was learned.

    ``losses[name]``: means of every ``PER_POINT`` steps, drawn at their middle on a log scale;
    ``start`` (grey) and ``learned[name]``: a weight for every timestep, mean 1.
    """
    figure, grid = plots.axes(1, 2, size=(8.2, 3.3))
    loss, importance = grid[0]
    for name, values in losses.items():
        loss.plot(PER_POINT * np.arange(len(values)) + PER_POINT // 2, values, label=name)
    loss.set(yscale="log", xlabel="step", title="loss")
    importance.plot(start, color="#b5b5b5", label="at the start")
    for name, omega in learned.items():
        importance.plot(omega, label=name)
    importance.set(xlabel="timestep t", title="importance (mean 1)")
    for ax in (loss, importance):
        ax.legend(fontsize=9)
    return figure


def one_noise(rows: Mapping[str, Tensor], title: str) -> Figure:
    """Labelled rows of pictures ``(N, C, H, W)`` from the same noise; the last has a title."""
    figure = plots.image_rows(rows, size=(6.8, 1.75))
    figure.axes[-1].set_title(title)
    return figure


def diagnostic(
    reports: Mapping[str, Sequence[Mapping[str, Mapping[str, float]]]], metric: str
) -> Figure:
    """A gap metric in every timestep bin as :func:`dashbook.plots.per_timestep` draws it.

    Wider, with a legend in two columns, and on a log scale for all but the cosine.
    """
    figure = plots.per_timestep(reports, metric)
    figure.set_size_inches(6.6, 3.6)
    figure.axes[0].set_yscale("linear" if metric == "cos" else "log")
    figure.axes[0].legend(fontsize=8, ncols=2)
    return figure


def sweep(guidance: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Figure:
    """Frechet distance and accuracy against the scale, one run a row, as :func:`plots.sweep`.

    ``guidance[row][scale][metric]``.  Distances above 320 leave the picture.
    """
    figure = plots.sweep({row: [scales] for row, scales in guidance.items()})
    ax = figure.axes[0]
    ax.set(ylim=(70, 320), yticks=SCALE_TICKS, yticklabels=[str(tick) for tick in SCALE_TICKS])
    ax.minorticks_off()
    return figure


def weightings(
    starts: Sequence[int], cos: Sequence[np.ndarray], ratios: Mapping[str, np.ndarray]
) -> Figure:
    """Cosine of the gap per timestep under both weightings, and the ratio of their errors.

    ``starts``: first timesteps of equal bins; ``cos``: a value a bin, under TIRT Transfer and
    under uniform weights; ``ratios[error]``, ``(seeds, bins)``: their mean, and the seeds' range
    shaded, for errors named as in ``BRANCHES``.
    """
    figure, grid = plots.axes(1, 2, size=(8.2, 3.4))
    direction, error = grid[0]
    middle = np.array(starts) + (starts[1] - starts[0]) / 2
    for (key, ratio), shade in zip(ratios.items(), plots.CYCLE, strict=False):
        error.plot(middle, ratio.mean(0), color=shade, label=BRANCHES[key])
        error.fill_between(middle, ratio.min(0), ratio.max(0), color=shade, alpha=0.2, lw=0)
    for curve, shade, name in zip(cos, plots.CYCLE, WEIGHTINGS, strict=False):
        direction.plot(middle, curve, "o-", ms=4, color=shade, label=name)
    error.axhline(1, color="black", lw=1)
    error.set(xlabel="timestep t", title="error: transfer / uniform", yscale="log")
    direction.set(xlabel="timestep t", title="cos")
    for ax in (direction, error):
        ax.legend(fontsize=9)
    return figure
