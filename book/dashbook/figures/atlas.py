"""Figures of the gap atlas: maps, profiles over timesteps, and what repairs and dials reach."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from dashbook import plots
from dashbook.atlas import Map

MAPPED = {  # metric: title, colours, limits of what is coloured
    "rho": ("ρ (colour: its logarithm)", "RdBu_r", (-2, 2)),
    "cos": ("cos", "viridis", (0, 1)),
    "a_star": ("a*", "RdBu", (0, 2)),
}


def _middles(bins: int, T: int = 1000) -> list[float]:
    """The middle timestep of each of so many equal ranges."""
    return [(i + 0.5) * T / bins for i in range(bins)]


def heat_map(row: str, metric: str, maps: Mapping[str, Map], T: int = 1000) -> Figure:
    """A metric of ``maps[row]``, ``(bins, classes)``, with its numbers; the noisiest range on top.

    The metrics are those of ``MAPPED``; rho is coloured by its logarithm to base 2.
    """
    (title, colors, (low, high)), values = MAPPED[metric], maps[row][metric].numpy()
    figure, grid = plots.axes(size=(5.6, 4.2))
    ax, (bins, classes) = grid[0, 0], values.shape
    shade = np.log2(values) if metric == "rho" else values
    image = ax.imshow(shade, cmap=colors, vmin=low, vmax=high, origin="lower", aspect="auto")
    light = image.cmap(image.norm(shade))[..., :3] @ (0.3, 0.6, 0.1)
    for (i, k), value in np.ndenumerate(values):
        ink = "black" if light[i, k] > 0.5 else "white"
        number = ax.text(k, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color=ink)
        number.set_in_layout(False)  # it lies inside the axes, and measuring it costs time
    ax.set(title=f"{plots.NAMES[row]}: {title}", xlabel="class", ylabel="first timestep")
    ax.set_xticks(range(classes))
    ax.set_yticks(range(bins), [f"{t}" for t in range(0, T, T // bins)])
    ax.grid(False)
    return figure


def energy_and_importance(energy: Tensor, spent: Mapping[str, Tensor]) -> Figure:
    """Profiles over timesteps, each ``(bins,)``: the gap energy as bars, importances as lines."""
    middle = _middles(len(energy))
    figure = plots.lines(
        {name: (middle, p.tolist()) for name, p in spent.items()},
        xlabel="timestep t",
        ylabel="share",
    )
    ax, width = figure.axes[0], 0.96 * (middle[1] - middle[0])
    ax.bar(
        middle,
        energy.tolist(),
        width=width,
        color="#cccccc",
        label="the teacher's gap energy",
        zorder=0,
    )
    ax.legend(frameon=False)
    return figure


def beside_teacher(
    row: str, a: float, images: Tensor, target: Tensor, distance: float, w: float = 4
) -> Figure:
    """Images of a student, its gap scaled by a, beside the teacher's at w, both ``(N, C, H, W)``.

    The title tells the guidance scale that the student gets, and its distance to the teacher.
    """
    title = f"{plots.NAMES[row]}, a = {a:g}:\nguidance at {w * a:g}, distance {distance:.2f}"
    return plots.image_grids({title: images, f"Teacher,\nw = {w:g}": target}, 5, size=(6.0, 3.2))


def scales_given(given: Mapping[str, Mapping[str, Sequence[float]]], w: float = 4) -> Figure:
    """A titled panel a repair: the guidance scale of each row in every range of timesteps.

    ``given[title][row]`` has a scale a range.  Dashed: the scale w that was asked for.
    """
    panels = {
        title: {plots.NAMES[row]: (_middles(len(v)), v) for row, v in rows.items()}
        for title, rows in given.items()
    }
    colors = {plots.NAMES[row]: plots.color(row) for rows in given.values() for row in rows}
    figure = plots.panels(panels, xlabel="timestep t", colors=colors, size=(7.6, 3.8))
    for ax in figure.axes:
        ax.set_ylim(0, 1.15 * w)
        ax.axhline(w, color="black", lw=1, ls="--")
        if legend := ax.get_legend():
            legend.remove()
    handles, names = ax.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)
    return figure


def remedies(
    found: Mapping[tuple[str, str], Mapping[str, np.ndarray]],
    rows: Sequence[str],
    scales: Sequence[str],
) -> Figure:
    """A panel a guidance scale: each row's Frechet distance (log) under every remedy.

    ``found[row, scale][remedy]`` has a distance a training seed; drawn: their mean and range.
    """
    figure, grid = plots.axes(1, len(scales), size=(9.6, 4.4))
    names = list(found[rows[0], scales[0]])
    for ax, scale in zip(grid[0], scales, strict=True):
        for i, row in enumerate(rows):
            seeds = np.array([*found[row, scale].values()])
            at, mean = np.arange(len(names)) + (i - len(rows) // 2) * 0.08, seeds.mean(1)
            bars = abs(np.array([seeds.min(1), seeds.max(1)]) - mean)
            style = {"color": plots.color(row), "fmt": "o-", "lw": 1, "ms": 5, "elinewidth": 2}
            ax.errorbar(at, mean, bars, label=plots.NAMES[row], **style)
        ax.set(yscale="log", title=scale if scale == "TAG" else f"w = {scale}")
        ax.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=9)
        ax.sharey(grid[0, 0])
    grid[0, 0].set_ylabel("Fréchet distance")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def reach(sweeps: Mapping[str, np.ndarray], dots: Mapping[str, np.ndarray]) -> Figure:
    """Class accuracy against Frechet distance (log): a line for each row's dial, dots for the rest.

    Both hold points ``(n, 2)`` of distance and accuracy by row.
    """
    figure, grid = plots.axes(size=(7.0, 4.4))
    ax = grid[0, 0]
    for row, sweep in sweeps.items():
        ax.plot(*sweep.T, "-", color=plots.color(row), label=plots.NAMES[row])
        ax.plot(*dots[row].T, "o", ms=5, alpha=0.7, color=plots.color(row))
    ax.set(xscale="log", xlim=(5, 120), ylim=(0.6, 1.01))
    ax.set(xlabel="Fréchet distance", ylabel="class accuracy")
    figure.legend(loc="outside lower center", ncols=len(sweeps), frameon=False)
    return figure
