"""Figures of the gap's collapse: a blind line, gaps while training, errors over the scales."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from torch import Tensor

from dashbook import plots


def blind_line(w: float) -> Figure:
    """The plane of branch errors, with what cond-only and composite at scale w cannot see."""
    figure, grid = plots.axes(size=(4.6, 4.2))
    ax = grid[0, 0]
    ax.axvline(0, color=plots.color("cond_only"), ls="--", label="cond-only: $e_c = 0$")
    ax.axline((0, 0), (w - 1, w), color=plots.color("composite"), label=f"composite, w = {w:g}")
    ax.plot(0, 0, "o", ms=9, color=plots.color("dash"), label="both branches: one point")
    ax.set(xlim=(-1, 1), ylim=(-1, 1))
    ax.set(xlabel="conditional error $e_c$", ylabel="unconditional error $e_u$")
    ax.legend(loc="lower right", fontsize=9, frameon=False)
    return figure


def rows_by_scale(images: Tensor, scales: Tensor) -> Figure:
    """Images ``(B, C, H, W)``, a row for each guidance scale; ``scales``, ``(B,)``: theirs."""
    rows = {f"w = {w:g}": images[scales == w] for w in scales.unique().tolist()}
    return plots.image_rows(rows, size=(5.6, 2.6))


def gap_while_training(gaps: Mapping[str, Mapping[int, Mapping[str, float]]]) -> Figure:
    """Length of the gap against training steps, and the teacher's length, 1.

    ``gaps[name][step]`` is a summary of :mod:`dashlib.metrics`, of which ``rho`` is drawn.
    """
    curves = {k: (list(at), [gap["rho"] for gap in at.values()]) for k, at in gaps.items()}
    figure = plots.lines(curves, xlabel="training step", ylabel="ρ", marker="o", size=(6.0, 3.2))
    figure.axes[0].axhline(1, color="#999999", lw=1)
    return figure


def guided_errors(ws: Sequence[float], errors: Mapping[str, Sequence[float]]) -> Figure:
    """Mean squared error of the guided prediction at the scales ws: ``errors[objective]``, log."""
    curves = {plots.NAMES[row]: (ws, values) for row, values in errors.items()}
    colors = {plots.NAMES[row]: plots.color(row) for row in errors}
    figure = plots.lines(
        curves,
        xlabel="guidance scale w",
        ylabel="mean $|S_w - T_w|^2$",
        colors=colors,
        log=True,
    )
    figure.axes[0].set_ylim(0.004, 6)
    return figure


def samples_with_distance(samples: Mapping[str, Tensor], frechet: Mapping[str, float]) -> Figure:
    """A row of images ``(N, C, H, W)`` an objective, with its Frechet distance (FD) beside it."""
    rows = {}
    for row, images in samples.items():
        rows[f"{plots.NAMES[row].split(',')[0]}\nFD {frechet[row]:.0f}"] = images
    return plots.image_rows(rows, size=(6.0, 2.8))
