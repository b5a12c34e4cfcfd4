"""Figures of the playground: a mixture of known density in the plane, its flow and its students.

Points are images of one pixel with two channels, ``(N, 2, 1, 1)``, as in :mod:`dashbook.mixture`.
"""

from collections.abc import Mapping
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dashbook import plots
from dashbook.mixture import ExactDenoiser, Mixture, endpoint_distance
from dashlib.data import Images
from dashlib.guidance import Denoiser, Guided

CLASSES = ("#2A9D8F", "#8E44AD", "#C9A227")  # colours of classes, which no method has
HEIGHTS = (0.1, 0.4, 0.7)  # of the lines of equal density, as shares of its maximum
TRAININGS = {"usual class table": plots.color("cond_only"), "fifty times smaller": "#F2B48C"}
HIDDEN = {  # students by the share of labels that was hidden from them
    "hidden 10 %": plots.color("cond_only_dropout"),
    "hidden 50 %": "#8FD6BF",
    "never hidden": plots.color("cond_only"),
    "DASH": plots.color("dash"),
}
EDGE = 1.2  # points further out are drawn there


def _lattice(half: float, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Coordinates ``(n, n)`` of a lattice in [-half, half]^2, and its points ``(n^2, 2)``."""
    side = torch.linspace(-half, half, n)
    xs, ys = torch.meshgrid(side, side, indexing="xy")
    return xs, ys, torch.stack([xs.flatten(), ys.flatten()], dim=1)


def _outline(
    ax: Axes, mixture: Mixture, y: int, half: float, color: str, alpha_bar: float = 1.0
) -> None:
    """Lines of equal density of a class at a noise level."""
    xs, ys, points = _lattice(half, 60)
    level = torch.full((len(points),), alpha_bar).double()
    density = mixture.log_density(points, torch.full((len(points),), y), alpha_bar=level).exp()
    heights = [share * density.max().item() for share in HEIGHTS]
    ax.contour(xs, ys, density.view_as(xs), heights, linewidths=0.8, colors=color)


def _dots(ax: Axes, x: Tensor, y: Tensor | None = None, **style: Any) -> None:
    """Points, coloured by class if their labels are given."""
    shades = {} if y is None else {"c": [CLASSES[k] for k in y]}
    ax.scatter(*x.flatten(1).T, lw=0, **shades | style)


def _arrows(
    ax: Axes, model: Denoiser, t: int, w: float, half: float, color: str, n: int, width: float
) -> None:
    """The direction of the probability flow of class 0, ``-eps_w``, at n x n points."""
    xs, ys, points = _lattice(half, n)
    with torch.no_grad():
        eps = Guided(model, torch.zeros(n * n).long(), w)(points, torch.full((n * n,), t))
    u, v = -eps.T.view(2, n, n) / (2.2 * half)
    ax.quiver(xs, ys, u, v, color=color, scale=14, scale_units="width", width=width)


def _square(ax: Axes, half: float, title: str) -> None:
    ax.set(title=title, xlim=(-half, half), ylim=(-half, half))


def classes(mixture: Mixture, points: Images, title: str) -> Figure:
    """Points of the mixture coloured by class, and lines of equal density of every class."""
    figure, grid = plots.axes(size=(4.4, 4.2))
    ax = grid[0, 0]
    _dots(ax, points.x, points.y, s=6, alpha=0.6)
    for k in range(mixture.num_classes):
        _outline(ax, mixture, k, 1.05, CLASSES[k])
    ax.set_aspect("equal")
    _square(ax, 1.05, title)
    return figure


def guided_flow(exact: ExactDenoiser, points: Tensor, w: float, t: int) -> Figure:
    """The exact flow of class 0 guided with w at timestep t, and points on their way along it.

    In lines of equal density: class 0 at this noise level, and in grey the others.
    """
    alpha_bar = exact.schedule.alpha_bar(torch.tensor([t])).item()
    half = 1.1 * alpha_bar**0.5 + 2.4 * (1 - alpha_bar) ** 0.5
    figure, grid = plots.axes(size=(4.3, 4.3))
    ax = grid[0, 0]
    for k in reversed(range(exact.mixture.num_classes)):
        _outline(ax, exact.mixture, k, half, "#BBBBBB" if k else CLASSES[0], alpha_bar)
    _arrows(ax, exact, t, w, half, "#555555", n=13, width=0.004)
    _dots(ax, points, s=5, c=CLASSES[0])
    _square(ax, half, f"w = {w:g}, t = {t}")
    return figure


def rho_over_training(usual: Mapping[int, float], small: Mapping[int, float]) -> Figure:
    """The length of the gap after some training steps, ``{step: rho}``; grey: the truth, 1.

    Of a student with the ``usual`` class table, and of one with one fifty times smaller.
    """
    curves = dict(zip(TRAININGS, (usual, small), strict=True))
    drawn = {name: (list(curve), list(curve.values())) for name, curve in curves.items()}
    figure = plots.lines(
        drawn, xlabel="training step", ylabel="ρ", colors=TRAININGS, marker="o", size=(6.0, 3.2)
    )
    figure.axes[0].axhline(1, color="#999999", lw=1)
    return figure


def null_branch_errors(reports: Mapping[str, Mapping[int, Mapping[str, float]]]) -> Figure:
    """Mean squared error of the unconditional branch in timestep bins.

    Black: the mean square of the true gap.  ``reports[name][first timestep][metric]``, with the
    names of ``HIDDEN``.
    """
    drawn = {
        name: (list(bins), [of["uncond_mse"] for of in bins.values()])
        for name, bins in reports.items()
    }
    bins = next(iter(reports.values()))  # all students have one teacher
    gap = "the true gap's square"
    drawn[gap] = (list(bins), [of["gap_t_ms"] for of in bins.values()])
    colors = HIDDEN | {gap: plots.color("teacher")}
    figure = plots.lines(drawn, xlabel="timestep t", ylabel="$|e_u|^2$", colors=colors, log=True)
    figure.axes[0].set_ylim(top=8)
    return figure


def beside_exact(
    row: str,
    w: float,
    models: tuple[Denoiser, Denoiser],
    ends: tuple[Tensor, Tensor],
    y: Tensor,
) -> Figure:
    """The guided flow of class 0 at t = 160, and end points: of the exact field and of a student.

    ``models``: exact field (grey arrows) and student (arrows in the row's colour); ``ends``: where
    both take the same points at w, the exact ones grey, the student's coloured by their labels y.
    Points of the student outside the frame are drawn on its edge.
    """
    figure, grid = plots.axes(1, 2, size=(6.6, 3.4))
    left, right = grid[0]
    for model, color, width in zip(
        models, ("#BBBBBB", plots.color(row)), (0.011, 0.005), strict=True
    ):
        _arrows(left, model, 160, w, 1.0, color, n=11, width=width)
    goal, drawn = ends
    _dots(right, goal, s=5, c="#BBBBBB")
    _dots(right, drawn.clamp(-EDGE, EDGE), y, s=4)
    distance = endpoint_distance(drawn, goal)
    shown = f"{distance:.2f}" if distance < 10 else f"{distance:,.0f}"
    _square(left, 1.05, plots.NAMES[row])
    _square(right, EDGE + 0.05, f"w = {w:g}: endpoint distance {shown}")
    return figure
