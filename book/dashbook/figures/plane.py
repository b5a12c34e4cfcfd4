"""Figures in the plane of branch errors (e_c, e_u): level sets, residuals, clouds and ellipses."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dashbook import plots
from dashbook.geometry import Form, composite, guided_error
from dashbook.residuals import Moments, moments
from dashlib.guidance import Branches

DASHED: dict[str, Any] = {"color": "black", "ls": "--", "lw": 1}


def _label_below(figure: Figure, ax: Axes, columns: int) -> None:
    handles, names = ax.get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=columns, frameon=False, fontsize=9
    )


def _square(ax: Axes, limit: float) -> None:
    ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    ax.set(xlabel="$e_c$", ylabel="$e_u$")


def level_sets(forms: Mapping[str, tuple[str, Form]], thick: str = "") -> Figure:
    """Where each objective costs one: ``forms[name] = (row, form)``; the row gives the colour.

    Blind forms are pairs of lines, the others ellipses; ``thick`` is a name to draw thicker.
    """
    figure, grid = plots.axes(size=(5.0, 4.4))
    ax = grid[0, 0]
    for name, (row, form) in forms.items():
        first, *others = form.level_set(1.0, reach=6)
        shade, width = plots.color(row), 3 if name == thick else 2
        ax.plot(*first.T, label=name, color=shade, lw=width)
        for line in others:
            ax.plot(*line.T, color=shade, lw=width)
    _square(ax, 3)
    _label_below(figure, ax, 2)
    return figure


def descent(left: Mapping[str, np.ndarray], dashed: str = "") -> Figure:
    """The share of a squared error that gradient descent on each objective leaves (log scale).

    ``left[row]``, shape ``(steps,)``, begins before the first step; ``dashed`` is a row to draw
    dashed, as it lies on another.
    """
    names = {row: plots.NAMES[row] for row in left}
    curves = {names[row]: (range(len(v)), np.maximum(v, 1e-6)) for row, v in left.items()}
    colors = {name: plots.color(row) for row, name in names.items()}
    label = "share of the squared error left"
    figure = plots.lines(curves, xlabel="step", ylabel=label, colors=colors)
    ax = figure.axes[0]
    ax.set(yscale="log", ylim=(2e-4, 1.5), xlim=(-5, max(map(len, left.values())) - 1))
    for row, line in zip(left, ax.lines, strict=True):
        line.set_linestyle("--" if row == dashed else "-")
    ax.legend(fontsize=9, loc="center right", bbox_to_anchor=(1.0, 0.62))
    return figure


def _visible(ax: Axes, residuals: Mapping[str, np.ndarray], w: float) -> None:
    """Residuals as arrows from the origin, and the band whose guided error is below a half."""
    for line in composite(w).level_set(0.25, reach=4):
        ax.plot(*line.T, **DASHED)
    for e, shade in zip(residuals.values(), plots.CYCLE, strict=False):
        ax.plot(*np.transpose([(0, 0), e]), "o-", color=shade, markevery=[1])
    ax.set(xlim=(-1.3, 1.3), ylim=(-0.6, 1.4), aspect="equal", xlabel="$e_c$", ylabel="$e_u$")


def implied_errors(residuals: Mapping[str, np.ndarray], w: float, ws: np.ndarray) -> Figure:
    """Residuals ``(e_c, e_u)`` in the plane, and the guided error of each over the scales ws."""
    figure, grid = plots.axes(1, 2, size=(7.4, 3.7))
    plane, error = grid[0]
    _visible(plane, residuals, w)
    for (name, (e_c, e_u)), shade in zip(residuals.items(), plots.CYCLE, strict=False):
        error.plot(ws, np.abs(guided_error(e_c, e_u, ws)), color=shade, label=name)
        error.plot(w, np.abs(guided_error(e_c, e_u, w)), "o", color=shade, ms=8)
    error.set(xlabel="guidance scale w", ylim=(-0.2, 8), title=f"guided error, w = {w:g}")
    _label_below(figure, error, 5)
    return figure


def clouds(
    errors: Mapping[str, Branches], nulls: Mapping[str, np.ndarray | None], every: int = 10
) -> Figure:
    """A panel a row: every tenth pixel's errors, their ellipse at two root mean squares, the null.

    ``nulls[row]`` is the blind direction of the row's objective, or None.
    """
    figure, grid = plots.axes(1, len(errors), size=(8.4, 3.3))
    for ax, (row, cloud) in zip(grid[0], errors.items(), strict=True):
        pixels = (of.flatten()[::every] for of in (cloud.cond, cloud.uncond))
        ax.plot(*pixels, ".", ms=1.5, color="#aaaaaa")
        ax.plot(*(2 * moments(cloud).ellipse()).T, color=plots.color(row))
        null = nulls[row]
        if null is not None:
            ax.axline((0, 0), (null[0], null[1]), **DASHED)
        _square(ax, 2.5)
        ax.set(ylabel="", title=plots.NAMES[row])
    grid[0, 0].set_ylabel("$e_u$")
    return figure


def ellipses(rows: Mapping[str, Moments], null: np.ndarray, limits: Sequence[float]) -> Figure:
    """The ellipses of several students in one plane, a panel for each limit of the axes.

    Dashed: a null direction for comparison.
    """
    figure, grid = plots.axes(1, len(limits), size=(7.4, 4.2))
    for ax, limit in zip(grid[0], limits, strict=True):
        ax.axline((0, 0), (null[0], null[1]), **DASHED)
        for row, m in rows.items():
            ax.plot(*m.ellipse().T, color=plots.color(row), label=plots.NAMES[row])
        _square(ax, limit)
    _label_below(figure, grid[0, 0], 3)
    return figure
