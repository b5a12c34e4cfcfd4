"""Figures of dual-branch distillation: a turning error, loss terms, branch errors, pictures."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dashbook import plots
from dashbook.pictures import Path, apart, rms

LEAST = 1e-3  # what a loss is drawn at where it vanishes
Line = tuple[Sequence[float], Sequence[float]]


def _draw_losses(
    ax: Axes, angles: Sequence[float], losses: Mapping[str, Sequence[float]], at: int
) -> None:
    for name, values in losses.items():
        drawn = np.maximum(values, LEAST)
        ax.plot(angles, drawn, color=plots.color(name), label=plots.NAMES[name])
        ax.plot(angles[at], drawn[at], "o", ms=9, color=plots.color(name))
    ax.set(yscale="log", ylim=(7e-4, 60), xlabel="direction (degrees)", title="the loss")


def turning_error(
    angle: float, angles: Sequence[float], losses: Mapping[str, Sequence[float]]
) -> Figure:
    """A branch error of length one at one of ``angles`` (degrees), and what objectives charge it.

    ``losses[row]`` holds a row's loss at every angle; where it vanishes it is drawn at ``LEAST``.
    """
    figure, grid = plots.axes(1, 2, size=(6.8, 3.3))
    plane, loss = grid[0]
    end = (np.cos(np.radians(angle)), np.sin(np.radians(angle)))
    plane.annotate("", end, (0, 0), arrowprops={"arrowstyle": "-|>", "lw": 2})
    plane.set(xlim=(-1.2, 1.2), ylim=(-0.6, 1.4), xlabel="$e_c$", ylabel="$e_u$", title="the error")
    _draw_losses(loss, angles, losses, list(angles).index(angle))
    handles = loss.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3, fontsize=10)
    return figure


def loss_terms(trainings: Mapping[str, Mapping[str, Sequence[float]]], every: int = 10) -> Figure:
    """A panel a training: its loss terms, each given as means over so many steps, log scale."""

    def curve(values: Sequence[float]) -> Line:
        return (every * np.arange(len(values)) + every / 2).tolist(), values

    curves = {
        title: {name: curve(values) for name, values in terms.items()}
        for title, terms in trainings.items()
    }
    return plots.panels(curves, xlabel="step", log=True)


def branch_plane(
    points: Mapping[tuple[str, str], tuple[Sequence[float], Sequence[float]]], filled: str
) -> Figure:
    """Students in the plane of branch errors, ``points[row, weighting] = (e_c^2, e_u^2)``.

    One dot a seed; those of the weighting ``filled`` are filled, and named in the legend.  On the
    grey line both errors are equal.
    """
    figure, grid = plots.axes(size=(5.6, 4.4))
    ax = grid[0, 0]
    for (row, weighting), (cond, uncond) in points.items():
        shade, full = plots.color(row), weighting == filled
        face, name = (shade, plots.NAMES[row]) if full else ("white", None)
        ax.plot(cond, uncond, "o", ms=8, color=shade, markerfacecolor=face, label=name)
    ax.axline((0.01, 0.01), (0.1, 0.1), color="#999999", lw=1)
    ax.set(xscale="log", yscale="log", xlabel="conditional error", ylabel="unconditional error")
    ax.legend(fontsize=9)
    return figure


def _label(row: str, distance: float | None) -> str:
    name = plots.NAMES[row].split(",")[0]
    return name if distance is None else f"{name}  {distance:.2f}"


def from_one_noise(pictures: Mapping[str, Tensor], shown: int = 10) -> Figure:
    """The first pictures of every row, ``(N, C, H, W)``, from the same noise as the teacher's.

    Beside the name of a row: the root-mean-square distance of all its pictures to
    ``pictures["teacher"]``.
    """
    teacher, rows = pictures["teacher"], {}
    for row, images in pictures.items():
        distance = None if row == "teacher" else rms(images, teacher)
        rows[_label(row, distance)] = images[:shown]
    return plots.image_rows(rows, size=(6.6, 3.6))


def along_the_way(paths: Mapping[str, Path], point: int, points: int = 10) -> Figure:
    """Every row's predicted clean images at the ``point``-th of ``points`` parts of the sampling.

    Beside the name of a row: the distance of its state from that of ``paths["teacher"]``.
    """
    away, rows = apart(paths), {}
    for row, visited in paths.items():
        i = point * (len(visited) - 1) // points
        rows[_label(row, away[row][i])] = visited[i].x0
    return plots.image_rows(rows, size=(5.6, 3.2))
