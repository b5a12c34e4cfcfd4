"""Dual-branch distillation: pictures from one noise, and figures of errors, losses and pictures."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from dashbook import plots, tables
from dashbook.paper import NAMES, PAPER
from dashbook.tables import DASHES, markdown
from dashlib.losses import mse
from dashlib.recipes import SCALES
from dashlib.results import Run
from dashlib.sampling import Iterate

Path = Sequence[Iterate]  # of a sampler, from noise to image
LEAST = 1e-3  # what a loss is drawn at where it vanishes
METRICS = {
    "rho": "ρ: length of the gap (1 is ideal)",
    "cos": "cos: direction of the gap",
    "a_star": "a*: best rescaling of the gap",
    "gap_mse": "error of the gap",
    "cond_mse": "error of the conditional branch",
    "uncond_mse": "error of the unconditional branch",
}


def stored(run: Run, label: str) -> Tensor:
    """A run's stored pictures at one guidance scale, ``(N, C, H, W)``, pixels in [-1, 1].

    ``ValueError`` for a scale at which its pictures are not kept.
    """
    labels = list(SCALES[run.name.split("/")[0]].guidance)
    return run.trace["samples"][labels.index(label)] / 127.5 - 1


def rms(a: Tensor, b: Tensor) -> float:
    """Root-mean-square distance of a pixel between images in the same order."""
    return mse(a, b).mean().sqrt().item()


def distance(run: Run, teacher: Run, label: str) -> float:
    """:func:`rms` between two runs' stored pictures from the same noise at one guidance scale."""
    return rms(stored(run, label), stored(teacher, label))


def apart(paths: Mapping[str, Path]) -> dict[str, list[float]]:
    """After each step, the :func:`rms` of every path's state from that of ``paths["teacher"]``."""
    ends = {name: [iterate.x_next for iterate in path] for name, path in paths.items()}
    return {name: list(map(rms, own, ends["teacher"])) for name, own in ends.items()}


def beside_paper(
    distances: Mapping[str, Mapping[str, float]], rhos: Mapping[str, Mapping[str, float]]
) -> str:
    """A table of objectives: ranks by the paper's FID (CIFAR-10) and our distances; every rho.

    ``distances[weighting][objective]``: our Frechet distances under TAG; ``rhos`` likewise.
    """
    rows = list(next(iter(distances.values())))
    ranked = {"*paper:* rank by FID, CIFAR-10": {row: PAPER[row].fid_cifar10 for row in rows}}
    ranked |= {f"ours: rank by FD TAG, {name}": dict(fd) for name, fd in distances.items()}
    theirs = {row: PAPER[row].rho_cifar10 for row in rows}
    lengths = {"*paper:* ρ": theirs, **{f"ours: ρ, {name}": rho for name, rho in rhos.items()}}
    lines = []
    for row in rows:
        ranks = [1 + sum(v < of[row] for v in of.values()) for of in ranked.values()]
        values = [rho[row] for rho in lengths.values()]
        shown = [DASHES if value is None else f"{value:.2f}" for value in values]
        lines.append([NAMES[row], *map(str, ranks), *shown])
    return markdown(["objective", *ranked, *lengths], lines)


def turning_error(
    angle: float, angles: Sequence[float], losses: Mapping[str, Sequence[float]]
) -> Figure:
    """A branch error of length one at one of ``angles`` (degrees), and what objectives charge it.

    ``losses[row]`` holds a row's loss at every angle; where it vanishes it is drawn at ``LEAST``.
    """
    figure, grid = plots.axes(1, 2, size=(6.8, 3.3))
    plane, loss = grid[0]
    end, at = (np.cos(np.radians(angle)), np.sin(np.radians(angle))), list(angles).index(angle)
    plane.annotate("", end, (0, 0), arrowprops={"arrowstyle": "-|>", "lw": 2})
    plane.set(xlim=(-1.2, 1.2), ylim=(-0.6, 1.4), xlabel="$e_c$", ylabel="$e_u$", title="the error")
    for row, values in losses.items():
        drawn = np.maximum(values, LEAST)
        loss.plot(angles, drawn, color=plots.color(row), label=NAMES[row])
        loss.plot(angle, drawn[at], "o", ms=9, color=plots.color(row))
    loss.set(yscale="log", ylim=(7e-4, 60), xlabel="direction (degrees)", title="the loss")
    plots.legend_below(figure, 3, fontsize=10)
    return figure


def loss_terms(trainings: Mapping[str, Mapping[str, Sequence[float]]], every: int = 10) -> Figure:
    """A panel a training: its loss terms, each given as means over so many steps, log scale."""
    curves = {
        title: {name: (plots.middles(len(v), every * len(v)), v) for name, v in terms.items()}
        for title, terms in trainings.items()
    }
    return plots.panels(curves, xlabel="step", log=True)


def per_timestep(rows: Mapping[str, Sequence[Run]], metric: str) -> Figure:
    """A gap metric in every timestep bin: one line a row, the range of its runs (seeds) shaded.

    Errors (names that end in ``mse``) are drawn on a log scale.
    """
    figure, grid = plots.axes(size=(6.4, 3.4))
    ax = grid[0, 0]
    for row, runs in rows.items():
        seeds, style = tables.per_timestep(runs, metric), {"color": plots.color(row), "ms": 4}
        plots.draw_seeds(ax, plots.middles(seeds.shape[1]), seeds, label=NAMES[row], **style)
    scale = "log" if metric.endswith("mse") else "linear"
    ax.set(xlabel="timestep t", title=METRICS[metric], yscale=scale)
    ax.legend(fontsize=9, frameon=False)
    return figure


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
        face, name = (shade, NAMES[row]) if full else ("white", None)
        ax.plot(cond, uncond, "o", ms=8, color=shade, markerfacecolor=face, label=name)
    ax.axline((0.01, 0.01), (0.1, 0.1), color="#999999", lw=1)
    ax.set(xscale="log", yscale="log", xlabel="conditional error", ylabel="unconditional error")
    ax.legend(fontsize=9)
    return figure


def from_one_noise(pictures: Mapping[str, Tensor], shown: int = 10) -> Figure:
    """The first pictures of every row, ``(N, C, H, W)``, from the same noise as the teacher's.

    Beside the name of a row: the root-mean-square distance of all its pictures to
    ``pictures["teacher"]``.
    """
    rows = {}
    for row, images in pictures.items():
        away = "" if row == "teacher" else f"  {rms(images, pictures['teacher']):.2f}"
        rows[NAMES[row].split(",")[0] + away] = images[:shown]
    return plots.image_rows(rows, size=(6.6, 3.6))


def along_the_way(paths: Mapping[str, Path], point: int, points: int = 10) -> Figure:
    """Every row's predicted clean images at the ``point``-th of ``points`` parts of the sampling.

    Beside the name of a row: the distance of its state from that of ``paths["teacher"]``.
    """
    away, rows = apart(paths), {}
    for row, visited in paths.items():
        i = point * (len(visited) - 1) // points
        rows[f"{NAMES[row].split(',')[0]}  {away[row][i]:.2f}"] = visited[i].x0
    return plots.image_rows(rows, size=(5.6, 3.2))
